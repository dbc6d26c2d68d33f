"""Everything that is emitted for k3s is in the reference with its source, and nothing in the reference is idle."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
import yaml

from edge_commander.distribution import k3s
from edge_commander.distribution.k3s import reference
from edge_commander.distribution.k3s.config import Way, config
from edge_commander.distribution.k3s.host import KEPT_FILES
from edge_commander.distribution.k3s.plan import TREES
from edge_commander.distribution.k3s.settings import K3sSettings
from tests.fakes.k3s_kit import plan
from tests.fakes.k3s_world import World

PACKAGE = Path(k3s.__file__).parent
CODE = {file.name: file.read_text() for file in PACKAGE.glob("*.py")}
ALL = "\n".join(CODE.values())
EVERYTHING = K3sSettings(
    labels=["a=b"],
    taints=["a=b:NoSchedule"],
    tls_sans=["x"],
    flannel_backend="none",
    share_images=True,
    mirrors={"*": []},
)
OURS = ("/etc/rancher/k3s/galley-token", "/etc/systemd/system/k3s.service.d/50-galley.conf", "/run/galley-k3s-may-form")


def quoted(words: str) -> set[str]:
    return set(re.findall(rf"{words}\(\s*[\"']([^\"']+)[\"']", ALL))


def test_every_fact_has_a_source_and_every_source_a_fact() -> None:
    data = reference.REFERENCE
    entries = [*data.commands.values(), *data.paths.values(), *data.names.values()]
    used = {*data.flags.values(), *(one.source for one in entries)}
    assert used == set(data.sources)
    for source in data.sources.values():
        thread = re.fullmatch(r"(issues|pull)/\d+", source.path)
        assert bool(thread) is (source.commit is None), source
        assert source.repo in ("k3s-io/k3s", "k3s-io/docs")


def test_every_key_of_a_config_is_a_flag_of_the_reference() -> None:
    for way in Way:
        said = yaml.safe_load(config(plan("n", ("192.0.2.1",)), EVERYTHING, way).content)
        assert set(said) <= set(reference.REFERENCE.flags)


def test_nothing_in_the_reference_is_idle() -> None:
    data = reference.REFERENCE
    said: set[str] = set()
    for way in Way:
        said |= set(yaml.safe_load(config(plan("n", ("192.0.2.1",)), EVERYTHING, way).content))
    assert set(data.flags) - said - quoted(r"reference\.flag") == set()
    names = set(re.findall(r"[\"']([a-z0-9-]+)[\"']", ALL))
    for kind in (data.commands, data.paths, data.names):
        assert set(kind) - names == set()


def test_no_path_flag_or_name_of_k3s_stands_in_the_code_itself() -> None:
    paths = re.compile(r"[\"'](/var/lib/(?:rancher|kubelet)|/etc/rancher|/run/k3s)[^\"']*")
    names = re.compile(r"cattle\.io|k3s\.service|node-password\.k3s|--(?!no-block|property)[a-z]{4,}")
    for name, text in CODE.items():
        code = re.sub(r'"""(?:.|\n)*?"""', "", text)
        assert not paths.findall(code) + names.findall(code), name


def test_what_is_not_in_the_reference_cannot_be_emitted() -> None:
    for ask in (reference.flag, reference.command, reference.path, reference.name):
        with pytest.raises(KeyError):
            ask("etcd-s3-secret-key")


def test_every_file_that_is_kept_or_removed_is_a_path_of_the_reference_or_ours() -> None:
    known = {place.path for place in reference.REFERENCE.paths.values()} | set(OURS)
    assert set(KEPT_FILES) | set(TREES) <= known


async def test_every_command_that_was_run_is_one_of_the_reference(world: World) -> None:
    await world.k3s().init(plan())
    await world.k3s().snapshot("before")
    await world.k3s().rotate()
    await world.k3s().restore("/keep/k3s/etcd/before-nuc-1-1000", plan(epoch=2))
    ran = [call.split()[1:] for call in world.calls if call.startswith("k3s ")]
    commands = [one.words for one in reference.REFERENCE.commands.values()]
    assert len(ran) >= 6
    for words in ran:
        assert any(words[: len(one)] == one for one in commands), words
        flags = {word.removeprefix("--").partition("=")[0] for word in words if word.startswith("--")}
        assert flags <= set(reference.REFERENCE.flags) | {"name", "version"}


def test_a_reference_with_an_unknown_key_is_refused() -> None:
    raw = msgspec.json.decode((PACKAGE / "reference.json").read_bytes())
    raw["paths"]["config"]["why"] = "because"
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(raw, reference.Reference)
