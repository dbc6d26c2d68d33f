"""A new image below an upper layer that was written on an older one: what early boot drops, keeps, saves and says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.site_in_a_box.etc_overlay import EtcNode

FIRST = {
    "passwd": "root:1\n",
    "hosts": "127.0.0.1 localhost\n",
    "motd": "one\n",
    "issue": "one\n",
    "profile": "one\n",
    "shells": "one\n",
    "gone": "one\n",
    "ssh/sshd_config": "one\n",
    "ssh/moduli": "one\n",
    "apt/sources.list": "one\n",
    "skel/.profile": "one\n",
    "systemd/network/80-dhcp.network": "one\n",
    "default/grub": "one\n",
}
SECOND = {
    **FIRST,
    "passwd": "root:2\n",
    "hosts": "127.0.0.1 localhost two\n",
    "motd": "two\n",
    "profile": "two\n",
    "ssh/sshd_config": "two\n",
    "ssh/new": "two\n",
    "apt/preferences": "two\n",
    "default/grub": "two\n",
    "new.conf": "two\n",
}


def tree(folder: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def live(node: EtcNode) -> None:
    """What people and programs do on the first image."""
    etc = node.folder / "etc"
    node.do("sh", "-ec", f"""cd {etc}
        echo mine >> passwd; echo mine >> hosts; touch motd; echo mine > issue; rm gone
        rm profile; mkdir profile; echo mine > profile/x
        rm -rf ssh; mkdir ssh; echo mine > ssh/sshd_config; echo key > ssh/ssh_host_rsa_key
        rm -rf apt
        chmod 700 skel; setfattr -n user.note -v mine skel
        echo mine > systemd/network/10-mine.network
        echo mine > new.conf""")  # fmt: skip


def upgraded(folder: Path) -> EtcNode:
    """A node whose first image was lived on, and that has the second one below, before its boot."""
    node = EtcNode(folder)
    node.image(tree(folder / "tree-1", FIRST), "1")
    assert node.boot().returncode == 0
    live(node)
    node.down()
    # As an older mount with redirect_dir=on and metacopy=on would have left them.
    upper = node.upper
    (upper / "default.old").mkdir()
    os.setxattr(upper / "default.old", "trusted.overlay.redirect", b"default")
    os.mknod(upper / "default", 0o20000, 0)
    (upper / "shells").write_text("one\n")
    os.setxattr(upper / "shells", "trusted.overlay.metacopy", b"")
    second = tree(folder / "tree-2", SECOND)
    (second / "skel").chmod(0o750)
    (second / "systemd/network").chmod(0o700)
    node.image(second, "2")
    return node


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcNode]:
    with upgraded(tmp_path_factory.mktemp("etc")) as node:
        for name in ("conf", "keep"):
            node.do("cp", "-a", str(node.folder / name), str(node.folder / f"{name}-was"))
        yield node


@pytest.fixture
def node(held: EtcNode) -> Iterator[EtcNode]:
    for name in ("conf", "keep"):
        path = held.folder / name
        held.do("sh", "-ec", f"rm -rf {path}/*; cp -a {path}-was/. {path}")
    yield held
    subprocess.run(["nsenter", "-t", str(held.holder.pid), "-m", "umount", str(held.folder / "etc")],
                   check=False, capture_output=True)  # fmt: skip


def text(node: EtcNode, path: str) -> str:
    return (node.etc / path).read_text()


DROPPED = ["apt", "default", "default.old", "new.conf", "passwd", "profile", "shells", "skel", "ssh", "ssh/sshd_config"]


def test_a_new_image_shows_and_what_may_differ_stays(node: EtcNode) -> None:
    done = node.boot()
    assert done.returncode == 0, done.stderr
    assert {path: text(node, path) for path in ("passwd", "motd", "profile", "ssh/sshd_config", "ssh/new", "new.conf",
            "apt/preferences", "apt/sources.list", "default/grub", "ssh/moduli", "shells")} == {
        "passwd": "root:2\n", "motd": "two\n", "profile": "two\n", "ssh/sshd_config": "two\n", "ssh/new": "two\n",
        "new.conf": "two\n", "apt/preferences": "two\n", "apt/sources.list": "one\n", "default/grub": "two\n",
        "ssh/moduli": "one\n", "shells": "one\n"}  # fmt: skip
    # What may differ stays; so does drift that hides nothing newer.
    assert text(node, "hosts") == "127.0.0.1 localhost\nmine\n"
    assert (text(node, "ssh/ssh_host_rsa_key"), text(node, "issue")) == ("key\n", "mine\n")
    assert text(node, "systemd/network/10-mine.network") == "mine\n"
    assert not (node.etc / "gone").exists()
    modes = {path: (node.etc / path).stat().st_mode & 0o777 for path in ("skel", "systemd/network")}
    assert modes == {"skel": 0o750, "systemd/network": 0o700}
    assert "user.note" not in os.listxattr(node.etc / "skel")
    status, found = node.diff()
    assert status == 1
    assert [one["path"] for one in found["drift"]] == ["default.old", "gone", "issue"]
    assert found["newer"] == [{"path": "hosts", "why": "it may differ"}]
    assert sorted(one["path"] for one in found["dropped"]) == DROPPED
    assert {one["image"] for one in found["dropped"]} == {"nuc 2"}
    assert found["problems"] == []


def test_what_was_dropped_is_kept_with_its_marks(node: EtcNode, tmp_path: Path) -> None:
    node.boot()
    kept = {one["path"]: one["file"] for one in node.diff()[1]["dropped"]}
    for path in ("passwd", "profile", "apt", "ssh"):
        subprocess.run(["tar", "-C", str(tmp_path), "--xattrs", "--xattrs-include=*", "-xpf",
                        str(node.keep / kept[path])], check=True)  # fmt: skip
    assert (tmp_path / "passwd").read_text() == "root:1\nmine\n"
    assert (tmp_path / "profile/x").read_text() == "mine\n"
    assert (tmp_path / "apt").is_char_device() and (tmp_path / "apt").stat().st_rdev == 0
    assert os.getxattr(tmp_path / "ssh", "trusted.overlay.opaque") == b"y"
    assert {one.stat().st_mode & 0o777 for one in node.keep.glob("*.tar")} == {0o600}


def test_the_next_start_of_the_same_image_does_nothing(node: EtcNode) -> None:
    node.boot()
    node.down()
    before = (node.upper.parent / "galley-overlay.json").read_bytes(), sorted(one.name for one in node.keep.iterdir())
    again = node.boot()
    assert again.stderr == ""
    assert before == (
        (node.upper.parent / "galley-overlay.json").read_bytes(), sorted(one.name for one in node.keep.iterdir())
    )  # fmt: skip
    # A second call while it is mounted changes nothing either.
    assert "mounted there already" in node.boot().stderr


def test_what_is_written_again_on_the_new_image_counts_as_made_from_it(node: EtcNode) -> None:
    node.boot()
    node.do("sh", "-c", f"echo merged by hand > {node.folder}/etc/hosts; echo mine >> {node.folder}/etc/passwd")
    node.down()
    assert node.boot().returncode == 0
    assert (text(node, "hosts"), text(node, "passwd")) == ("merged by hand\n", "root:2\nmine\n")
    assert node.diff()[1]["newer"] == []


def test_killed_at_each_call_it_ends_as_the_undisturbed_one(node: EtcNode) -> None:
    command = node.command("tests.site_in_a_box.overlay_kills", str(node.folder), *node.arguments())
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["bad"] == []
    assert found["kills"] == found["points"] > 60
    shutil.rmtree(node.folder / "pristine")


def test_tar_of_the_standard_library_reads_the_backups(node: EtcNode) -> None:
    node.boot()
    for file in node.keep.glob("*.tar"):
        with tarfile.open(file) as tar:
            assert tar.getmembers()
