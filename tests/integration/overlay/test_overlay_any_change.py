"""Whatever is done through a real overlay mount, the comparison says what a walk of both trees shows."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_commander.overlay.allowed import Allowed
from edge_commander.overlay.backups import Backups
from edge_commander.overlay.changes import Change, differences, seen
from edge_commander.overlay.layers import fingerprint
from edge_commander.overlay.masking import Masking
from edge_commander.overlay.read import read
from edge_commander.overlay.rule import judge, manifest, remembered
from edge_commander.overlay.steps import Place
from edge_commander.overlay.store import Store
from tests.site_in_a_box.etc_overlay import EtcNode

NAMES = ("a", "b", "hosts")
PATHS = [*NAMES, *(f"{one}/{two}" for one in NAMES for two in NAMES), "a/b/a", "b/a/hosts"]


def write(etc: Path, one: str, other: str) -> None:
    (etc / one).write_text(other)


def remove(etc: Path, one: str, other: str) -> None:
    path = etc / one
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def move(etc: Path, one: str, other: str) -> None:
    (etc / one).rename(etc / other)


OPERATIONS: dict[str, Callable[[Path, str, str], None]] = {
    "write": write,
    "remove": remove,
    "move": move,
    "mkdir": lambda etc, one, other: (etc / one).mkdir(),
    "chmod": lambda etc, one, other: (etc / one).chmod(0o700 + len(other)),
    "chown": lambda etc, one, other: os.chown(etc / one, len(other), 0, follow_symlinks=False),
    "touch": lambda etc, one, other: os.utime(etc / one),
    "link": lambda etc, one, other: (etc / one).symlink_to(other),
    "hard": lambda etc, one, other: (etc / one).hardlink_to(etc / other),
    "xattr": lambda etc, one, other: os.setxattr(etc / one, "user.x", other.encode()),
    "copy": lambda etc, one, other: shutil.copytree(etc / one, etc / other, symlinks=True),  # type: ignore[dict-item,return-value]
}
STEPS = st.lists(st.tuples(st.sampled_from(sorted(OPERATIONS)), st.sampled_from(PATHS), st.sampled_from(PATHS)),
                 min_size=1, max_size=12)  # fmt: skip


def lay(tree: Path) -> None:
    for path in ("a/a", "a/b/a", "a/b/b", "a/hosts", "b/a/hosts", "b/b", "hosts"):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(path)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcNode]:
    folder = tmp_path_factory.mktemp("etc")
    with EtcNode(folder) as one:
        lay(folder / "tree")
        one.image(folder / "tree", "1")
        second = folder / "second"
        lay(second)
        (second / "a/a").write_text("newer")
        (second / "b/new").write_text("newer")
        (second / "a/b").chmod(0o700)
        one.image(second, "2")
        yield one


def plainly(changes: list[Change]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.what, one.path, tuple(one.aspects)) for one in changes]


@pytest.mark.parametrize("options", ["redirect_dir=on,metacopy=on", "redirect_dir=off,metacopy=off"])
def test_the_layers_say_what_a_walk_shows(node: EtcNode, options: str) -> None:
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
    @given(STEPS)
    def holds(steps: list[tuple[str, str, str]]) -> None:
        node.mount(options)
        try:
            for name, one, other in steps:
                with contextlib.suppress(OSError, shutil.Error):
                    OPERATIONS[name](node.etc, one, other)
            upper, lower = read(node.upper, contents=True), read(node.lower, contents=True)
            walked = seen(read(node.etc, contents=True), lower, Allowed())
            assert plainly(differences(upper, lower, Allowed())) == plainly(walked)
        finally:
            node.down()
            shutil.rmtree(node.upper.parent)

    holds()


def test_after_the_rule_all_that_is_newer_shows(node: EtcNode) -> None:
    """On the image before, anything; then the rule of early boot on the next one."""
    first, lower = read(node.folder / "tree", contents=True), read(node.lower, contents=True)
    newer = [path for path, one in lower.items() if path not in first or fingerprint(one) != fingerprint(first[path])]
    assert sorted(newer) == ["a/a", "a/b", "b/new"]

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
    @given(STEPS)
    def holds(steps: list[tuple[str, str, str]]) -> None:
        conf, mounted = node.upper.parent, False
        node.mount("redirect_dir=on", lower=node.folder / "tree")
        try:
            for name, one, other in steps:
                with contextlib.suppress(OSError, shutil.Error):
                    OPERATIONS[name](node.etc, one, other)
            node.down()
            store, made = Store(conf, node.keep), judge(read(node.upper, contents=True), first, None, Allowed())
            store.save(remembered(made, "nuc 1", manifest(first), 0))
            place = Place(node.lower, node.upper, Backups(node.keep), "nuc 2")
            masking = Masking(place, store, Allowed(), lambda text: None)
            masking.run()
            assert masking.problems == []
            node.mount("redirect_dir=follow,metacopy=off,index=off")
            mounted = True
            shown, upper = read(node.etc, contents=True), read(node.upper, contents=True)
            assert {path: fingerprint(shown[path]) for path in newer} == {
                path: fingerprint(lower[path]) for path in newer
            }
            assert plainly(differences(upper, lower, Allowed())) == plainly(seen(shown, lower, Allowed()))
        finally:
            if mounted:
                node.down()
            shutil.rmtree(conf)
            shutil.rmtree(node.keep, ignore_errors=True)

    holds()
