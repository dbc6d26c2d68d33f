"""What is changed through a real overlay mount by real programs, and what the comparison says of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_commander.overlay.allowed import Allowed
from edge_commander.overlay.changes import Change, copies, differences, hidden
from edge_commander.overlay.layers import Kind, merged
from edge_commander.overlay.read import USER, read
from tests.site_in_a_box.etc_overlay import EtcNode

MOVES = "redirect_dir=on"


def lay(tree: Path) -> None:
    """An image's /etc."""
    for path, text in {
        "passwd": "root:x:0:0::/root:/bin/sh\n",
        "shadow": "root:*:1::::::\n",
        "hosts": "127.0.0.1 localhost\n",
        "os-release": "",
        "ssh/sshd_config": "PermitRootLogin no\n",
        "ssh/moduli": "1\n",
        "apt/apt.conf.d/00": "a\n",
        "apt/apt.conf.d/01": "b\n",
        "apt/sources.list": "c\n",
        "systemd/network/80-dhcp.network": "[Match]\n",
    }.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    (tree / "shadow").chmod(0o640)
    (tree / "mtab").symlink_to("../proc/self/mounts")
    (tree / "localtime").symlink_to("/usr/share/zoneinfo/Etc/UTC")


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcNode]:
    folder = tmp_path_factory.mktemp("etc")
    with EtcNode(folder) as node:
        tree = folder / "tree"
        lay(tree)
        node.image(tree, "1")
        yield node


@pytest.fixture
def node(held: EtcNode) -> Iterator[EtcNode]:
    held.mount(MOVES)
    yield held
    held.down()
    held.do("rm", "-rf", str(held.folder / "conf/etc"), str(held.folder / "keep/etc-overlay"))


def said(node: EtcNode) -> list[str]:
    """The comparison, a line for each, after the kernel's own view was compared with it."""
    upper, lower = read(node.upper, contents=True), read(node.lower, contents=True)
    seen = read(node.etc, contents=True)
    shown = {
        path: (one.kind, one.mode, one.uid, one.gid, one.content, one.xattrs)
        for path, one in merged(upper, lower).items()
    }
    assert shown == {
        path: (one.kind, one.mode, one.uid, one.gid, one.content, one.xattrs) for path, one in seen.items()
    }
    return [_line(one) for one in differences(upper, lower, Allowed())]


def _line(change: Change) -> str:
    marks = ("ok " if change.allowed else "") + change.what
    return " ".join([marks, change.path, *change.aspects, *([f"<{change.moved_from}"] if change.moved_from else [])])


def test_nothing_was_changed(node: EtcNode) -> None:
    assert said(node) == []
    status, found = node.diff()
    assert (status, found["drift"], found["image"]) == (0, [], "nuc 1")
    words = ["overlay", "diff", "--config", str(node.config()), "--lower", str(node.folder / "image/etc")]
    done = subprocess.run(node.command("edge_commander", *words), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "image    nuc 1\ndrift    none\n")


def test_programs_that_add_change_and_remove(node: EtcNode) -> None:
    etc = node.folder / "etc"
    node.do("cp", str(etc / "ssh/moduli"), str(etc / "ssh/copy"))
    node.do("sh", "-c", f"echo toor::0:0::/:/bin/sh >> {etc}/passwd; echo 10.0.0.1 site >> {etc}/hosts")
    node.do("chmod", "0644", str(etc / "shadow"))
    node.do("chown", "7:8", str(etc / "ssh/sshd_config"))
    node.do("setfattr", "-n", "user.note", "-v", "secret-value", str(etc / "ssh/moduli"))
    node.do("rm", str(etc / "apt/sources.list"))
    node.do("ln", "-sfn", "/usr/share/zoneinfo/Europe/Berlin", str(etc / "localtime"))
    node.do("mkfifo", str(etc / "pipe"))
    assert said(node) == [
        "removed apt/sources.list",
        "ok changed hosts content",
        "ok changed localtime content",
        "changed passwd content",
        "added pipe",
        "changed shadow mode",
        "added ssh/copy",
        "changed ssh/moduli xattrs",
        "changed ssh/sshd_config owner",
    ]
    status, found = node.diff()
    assert status == 1
    assert len(found["drift"]) == 7
    assert "toor" not in str(found) and "secret-value" not in str(found)


def test_a_copy_up_that_changes_nothing_is_no_drift(node: EtcNode) -> None:
    etc = node.folder / "etc"
    node.do("touch", str(etc / "passwd"))
    node.do("sh", "-c", f"chmod 600 {etc}/ssh/moduli; chmod 644 {etc}/ssh/moduli")
    assert (node.upper / "passwd").is_file() and (node.upper / "ssh/moduli").is_file()
    assert said(node) == []
    assert copies(read(node.upper, contents=True), read(node.lower, contents=True)) == 2


def test_a_directory_made_anew_hides_the_images(node: EtcNode) -> None:
    etc = node.folder / "etc"
    node.do("rm", "-rf", str(etc / "apt"))
    node.do("mkdir", "-p", str(etc / "apt/apt.conf.d"))
    node.do("sh", "-c", f"echo mine > {etc}/apt/apt.conf.d/00")
    assert said(node) == [
        "changed apt/apt.conf.d/00 content",
        "removed apt/apt.conf.d/01",
        "removed apt/sources.list",
    ]
    found = hidden(read(node.upper, contents=True), read(node.lower, contents=True))
    assert [(one.path, one.hides) for one in found] == [("apt", 4)]
    assert node.diff()[1]["opaque"] == [{"path": "apt", "hides": 4}]


def test_directories_that_were_moved(node: EtcNode) -> None:
    etc = node.folder / "etc"
    (node.etc / "apt/apt.conf.d").rename(node.etc / "apt/other.d")  # within one directory: a relative redirect
    (node.etc / "ssh").rename(node.etc / "apt/ssh")  # to another one: an absolute redirect
    node.do("sh", "-c", f"echo no > {etc}/apt/ssh/sshd_config")
    assert said(node) == [
        "removed apt/apt.conf.d",
        "removed apt/apt.conf.d/00",
        "removed apt/apt.conf.d/01",
        "added apt/other.d <apt/apt.conf.d",
        "added apt/other.d/00",
        "added apt/other.d/01",
        "added apt/ssh <ssh",
        "added apt/ssh/moduli",
        "added apt/ssh/sshd_config",
        "removed ssh",
        "removed ssh/moduli",
        "removed ssh/sshd_config",
    ]


def test_a_directory_in_the_place_of_a_file_and_a_file_in_that_of_a_directory(node: EtcNode) -> None:
    etc = node.folder / "etc"
    node.do("sh", "-c", f"rm {etc}/passwd; mkdir {etc}/passwd; rm -r {etc}/ssh; echo x > {etc}/ssh")
    assert said(node) == ["changed passwd kind", "changed ssh kind", "removed ssh/moduli", "removed ssh/sshd_config"]


def test_a_file_whose_metadata_alone_were_copied_up(node: EtcNode) -> None:
    node.down()
    node.mount("metacopy=on,redirect_dir=on")
    etc = node.folder / "etc"
    node.do("chmod", "0600", str(etc / "passwd"))
    node.do("mv", str(etc / "passwd"), str(etc / "ssh/passwd"))
    assert any(one.metacopy for one in read(node.upper, contents=True).values())
    assert said(node) == ["removed passwd", "added ssh/passwd"]


def test_whiteouts_in_the_form_of_xattrs(node: EtcNode) -> None:
    node.down()
    (node.upper / "hosts").touch()
    os.setxattr(node.upper / "hosts", "trusted.overlay.whiteout", b"y")
    upper = read(node.upper, contents=True)
    assert upper["hosts"].kind is Kind.WHITEOUT
    assert [_line(one) for one in differences(upper, read(node.lower, contents=True), Allowed())] == [
        "ok removed hosts"
    ]
    node.mount()
    assert not (node.etc / "hosts").exists()


def test_marks_of_an_overlay_that_was_mounted_with_userxattr(node: EtcNode) -> None:
    node.down()
    node.do("rm", "-rf", str(node.folder / "conf/etc"))
    node.mount("userxattr")
    etc = node.folder / "etc"
    node.do("sh", "-c", f"rm -r {etc}/ssh; mkdir {etc}/ssh")
    assert os.getxattr(node.upper / "ssh", "user.overlay.opaque") == b"y"
    upper, lower = read(node.upper, contents=True, marks=USER), read(node.lower, contents=True, marks=USER)
    assert [_line(one) for one in differences(upper, lower, Allowed())] == [
        "removed ssh/moduli",
        "removed ssh/sshd_config",
    ]
    assert [one["path"] for one in node.diff("--userxattr")[1]["drift"]] == ["ssh/moduli", "ssh/sshd_config"]


def test_names_that_are_no_text(node: EtcNode) -> None:
    (node.etc / os.fsdecode(b"bad\xffname\n")).write_text("x")
    assert said(node) == ["added bad\\xffname\n"]
    assert node.diff()[0] == 1
