"""Full, damaged and read-only partitions, damaged state: each start goes on, loses nothing silently, and says so."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.site_in_a_box.etc_overlay import EtcNode, run

FIRST = {"passwd": "root:1\n", "hosts": "one\n", "ssh/sshd_config": "one\n"}
SECOND = {"passwd": "root:2\n", "hosts": "two\n", "ssh/sshd_config": "two\n"}


def tree(folder: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


@pytest.fixture
def node(tmp_path: Path) -> Iterator[EtcNode]:
    """Lived on its first image, where `passwd` and `hosts` were changed."""
    with EtcNode(tmp_path, conf="1M", keep="1M") as one:
        one.image(tree(tmp_path / "tree-1", FIRST), "1")
        assert one.boot().returncode == 0
        (one.etc / "passwd").write_text("root:1\nmine\n")
        (one.etc / "hosts").write_text("mine\n")
        one.down()
        yield one


def upgrade(node: EtcNode) -> None:
    node.image(tree(node.folder / "tree-2", SECOND), "2")


def fill(folder: Path) -> None:
    """To the last block."""
    for size in (65536, 1024):
        with (folder / "ballast").open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass


def notes(node: EtcNode) -> dict[str, object]:
    found: dict[str, object] = json.loads(node.seen(node.folder / "run/boot.json").read_text())
    return found


def test_with_keep_full_nothing_is_dropped_until_there_is_room(node: EtcNode) -> None:
    upgrade(node)
    fill(node.keep.parent)
    assert node.boot().returncode == 0
    assert (node.etc / "passwd").read_text() == "root:1\nmine\n"
    assert "passwd: save it to keep" in str(notes(node)["problems"])
    assert node.diff()[1]["newer"] == [
        {"path": "hosts", "why": "it may differ"},
        {"path": "passwd", "why": "not dropped yet"},
    ]
    node.down()
    (node.keep.parent / "ballast").unlink()
    assert node.boot().returncode == 0
    assert (node.etc / "passwd").read_text() == "root:2\n"
    assert notes(node)["problems"] == []


def test_with_keep_full_of_backups_the_oldest_go(node: EtcNode) -> None:
    upgrade(node)
    node.keep.mkdir(parents=True)
    for number in range(2, 200):
        try:
            (node.keep / f"{number:06d}-{number:032x}.tar").write_bytes(b"x" * 40_000)
        except OSError:
            break
    fill(node.keep.parent)
    assert node.boot().returncode == 0
    assert (node.etc / "passwd").read_text() == "root:2\n"
    assert not (node.keep / f"000002-{2:032x}.tar").exists()
    assert "passwd" in [one["path"] for one in node.diff()[1]["dropped"]]


def test_with_conf_full_the_state_goes_to_keep_and_comes_back(node: EtcNode) -> None:
    upgrade(node)
    conf = node.upper.parent
    (node.upper / "passwd").unlink()  # nothing is dropped, and makes room
    fill(conf.parent)
    assert node.boot().returncode == 0
    kept = node.keep / "galley-overlay.json"
    assert kept.exists()
    assert "conf does not take the overlay's state, keep has it" in str(notes(node)["problems"])
    node.down()
    (conf.parent / "ballast").unlink()
    assert node.boot().returncode == 0
    assert not kept.exists()
    assert node.diff()[1]["image"] == "nuc 2"


def test_with_both_full_the_next_start_judges_by_what_was_remembered(node: EtcNode) -> None:
    upgrade(node)
    fill(node.upper.parent.parent)
    fill(node.keep.parent)
    assert node.boot().returncode == 0
    assert (node.etc / "hosts").read_text() == "mine\n"
    assert "not remembered" in str(notes(node)["problems"])
    node.down()
    for folder in (node.upper.parent.parent, node.keep.parent):
        (folder / "ballast").unlink()
    assert node.boot().returncode == 0
    assert (node.etc / "passwd").read_text() == "root:2\n"


@pytest.mark.parametrize("damage", [b"", b"\xff" * 4096], ids=["empty", "noise"])
def test_a_damaged_state_drops_nothing_and_is_said(node: EtcNode, damage: bytes) -> None:
    upgrade(node)
    (node.upper.parent / "galley-overlay.json").write_bytes(damage)
    assert node.boot().returncode == 0
    assert (node.etc / "passwd").read_text() == "root:1\nmine\n"
    assert "was damaged, and put aside" in str(notes(node)["problems"])
    node.down()
    assert node.boot().returncode == 0
    assert notes(node)["problems"] == []


def test_an_upper_layer_that_cannot_be_read_is_put_aside_whole(node: EtcNode) -> None:
    """A directory's block is overwritten on the raw device."""
    (node.upper / "ssh").mkdir()
    (node.upper / "ssh/own").write_text("own\n")
    conf, disk = node.folder / "conf", node.folder / "conf.ext4"
    node.do("umount", str(conf))
    block = int(run("debugfs", "-R", "blocks /etc/upper/ssh", str(disk)).split()[0])
    with disk.open("r+b") as raw:
        raw.seek(block * 1024)
        raw.write(b"\xff" * 1024)
    node.do("mount", "-o", "loop", str(disk), str(conf))
    done = node.boot()
    assert done.returncode == 0
    assert "the upper layer cannot be read" in done.stderr
    assert (node.etc / "passwd").read_text() == "root:1\n"
    (node.etc / "new").write_text("it can be written\n")
    (backup,) = node.diff()[1]["dropped"]
    assert (backup["path"], backup["why"]) == ("", "is damaged: the whole upper layer was put aside")
    held = run("tar", "-tf", str(node.keep / backup["file"])).split()
    assert {"passwd", "hosts"} <= set(held)
    # What could not be copied is still beside its place.
    assert (node.upper.parent / "upper.damaged/passwd").read_text() == "root:1\nmine\n"
    node.down()
    assert "a damaged upper layer lies there" in node.boot().stderr


def test_a_file_in_the_place_of_the_upper_layer(node: EtcNode) -> None:
    node.do("sh", "-c", f"rm -r {node.folder}/conf/etc/upper; echo x > {node.folder}/conf/etc/upper")
    assert node.boot().returncode == 0
    assert (node.etc / "hosts").read_text() == "one\n"
    assert [one["path"] for one in node.diff()[1]["dropped"]] == [""]


def test_a_read_only_conf_still_gives_what_is_on_it(node: EtcNode) -> None:
    node.do("mount", "-o", "remount,ro", str(node.folder / "conf"))
    assert node.boot().returncode == 0
    assert (node.etc / "hosts").read_text() == "mine\n"
    (node.etc / "hosts").write_text("today\n")
    assert notes(node)["memory"] is True
    node.down()
    node.do("mount", "-o", "remount,rw", str(node.folder / "conf"))
    assert node.boot().returncode == 0
    assert ((node.etc / "hosts").read_text(), notes(node)["memory"]) == ("mine\n", False)


def test_without_conf_and_keep_changes_are_kept_in_memory(node: EtcNode) -> None:
    for name in ("conf", "keep"):
        node.do("umount", str(node.folder / name))
        node.do("mount", "-t", "tmpfs", "-o", "ro", "none", str(node.folder / name))
    assert node.boot().returncode == 0
    (node.etc / "hosts").write_text("today\n")
    assert notes(node)["memory"] is True


def test_a_mount_that_fails_for_another_reason_leaves_the_upper_layer_where_it_is(node: EtcNode) -> None:
    node.do("rmdir", str(node.folder / "etc"))
    done = node.boot()
    assert done.returncode == 1
    assert "stays as it is in the image" in done.stderr
    assert (node.upper / "passwd").read_text() == "root:1\nmine\n"
    assert not node.keep.exists()


def test_what_may_differ_is_read_from_the_upper_layers_own_configuration(node: EtcNode) -> None:
    (node.upper / "galley").mkdir()
    (node.upper / "galley/galley.yaml").write_text("v: 1\nedge_commander: {overlay: {allow: [passwd]}}\n")
    upgrade(node)
    assert node.boot().returncode == 0
    assert (node.etc / "passwd").read_text() == "root:1\nmine\n"
    node.down()
    (node.upper / "galley/galley.yaml").write_text("v: 1\nedge_commander: {overlay: {allow: [/passwd]}}\n")
    assert node.boot().returncode == 0
    assert "overlay.allow is not read" in str(notes(node)["problems"])
    assert (node.etc / "passwd").read_text() == "root:2\n"


def test_mounted_on_the_image_itself_its_files_can_still_be_compared(node: EtcNode) -> None:
    words = node.arguments()
    words[words.index("--mount") + 1] = str(node.folder / "image/etc")
    done = subprocess.run(
        node.command("edge_commander.overlay.boot", *words), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert node.lower.joinpath("hosts").read_text() == "mine\n"
    assert node.seen(node.folder / "run/image/hosts").read_text() == "one\n"
    assert [one["path"] for one in node.diff(lower=False)[1]["allowed"]] == ["hosts"]


def test_etc_has_the_images_own_mode_whatever_was_lost(tmp_path: Path) -> None:
    with EtcNode(tmp_path, conf="1M", keep="1M") as node:
        first = tree(tmp_path / "tree-1", FIRST)
        first.chmod(0o751)
        node.image(first, "1")
        command = [
            "sh",
            "-c",
            'umask 077; exec "$@"',
            "sh",
            *node.command("edge_commander.overlay.boot", *node.arguments()),
        ]
        for options in ("remount,rw", "remount,ro"):  # on conf, and in memory
            node.do("mount", "-o", options, str(node.folder / "conf"))
            subprocess.run(command, capture_output=True, check=True)
            assert node.etc.stat().st_mode & 0o777 == 0o751
            assert node.diff()[1]["drift"] == []
            node.down()


def test_a_fault_of_the_rule_itself_leaves_the_upper_layer_in_use(node: EtcNode) -> None:
    upgrade(node)
    fault = """if True:
        import sys
        from edge_commander.overlay import boot, masking
        def judge(*_):
            raise AssertionError("a fault")
        masking.judge = judge
        sys.exit(boot.main(sys.argv[1:]))"""
    done = subprocess.run(node.script(fault, *node.arguments()), capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "not carried out: AssertionError: a fault" in done.stderr
    assert (node.etc / "passwd").read_text() == "root:1\nmine\n"
