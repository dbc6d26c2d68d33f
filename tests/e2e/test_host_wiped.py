"""An armed wipe at the boot of a real systemd: partitions are erased, made anew and mounted, and the host boots on.

One host without a cluster; its reboot is its own (`systemctl reboot`), its power cut is SIGKILL to its PID 1.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.io.state import StateFile
from edge_commander.memory import STATE_NAME
from edge_commander.reasons import NodeRecord
from edge_commander.wipe.record import Phase, Stage, WipeRecord
from tests.fakes import wipe_kit as kit
from tests.site_in_a_box import cluster_guest, host_tree
from tests.site_in_a_box.host import Host
from tests.site_in_a_box.host_disk import CONF, IDENT, KEEP, MOUNTED, HostDisk
from tests.site_in_a_box.host_suite import free_name
from tests.site_in_a_box.tree_print import Entry, tree_print

pytestmark = pytest.mark.timeout(300)
SIZES = {"keep": 32, "var": 640}
LINES = 2000
SECRET = "customer {:06d} paid with card 4929-{:08d}\n"
NEEDLE = b"paid with card"
ETC_FILE, VAR_FILE = "/etc/secret", "/var/lib/secret"
OPERATORS = "/etc/galley/operators.json"


class WipedHost(Host):
    """With a disk of its own; what the image brings is a configuration and the operators' keys."""

    def __init__(self, folder: Path) -> None:
        self.disk = HostDisk(folder / "disk", SIZES)
        tree = host_tree.ensure(cluster_guest.PACKAGES)
        options = ["--private-network", "--capability=all", *self.disk.options()]
        super().__init__(free_name("wiped"), folder, tree=tree, options=options)
        self.prepare()
        self.disk.lay(folder / "upper")
        self.path("/etc/galley/galley.yaml").write_text(
            json.dumps({"v": 1, "edge_commander": {"operators_file": OPERATORS}})
        )
        self.path(OPERATORS).write_text(json.dumps({"v": 1, "operators": [kit.OPERATOR.public]}))

    def inside(self, path: str) -> Path:
        """A file of the running guest."""
        return Path(f"/proc/{self.pid1}/root{path}")

    def live(self) -> None:
        """Everything that a node's life leaves on its partitions, secrets among it."""
        lines = "".join(SECRET.format(n, n * 7919) for n in range(LINES))
        for place in (ETC_FILE, VAR_FILE):
            self.inside(place).write_text(lines)
        StateFile(self.inside(IDENT) / STATE_NAME, NodeRecord).save(NodeRecord(node=kit.NODE, site=kit.SITE))
        os.chown(self.inside(IDENT), 773, 773)
        snapshots = self.inside(KEEP) / "snapshots"
        snapshots.mkdir(mode=0o750, exist_ok=True)
        for name, mode in (("one.db", 0o600), ("two.db", 0o4711)):
            (snapshots / name).write_bytes(os.urandom(70_000))
            os.chown(snapshots / name, 1234, 4321)
            (snapshots / name).chmod(mode)
            os.setxattr(snapshots / name, "user.galley", name.encode())
        (snapshots / "newest").unlink(missing_ok=True)
        (snapshots / "newest").symlink_to("two.db")
        self.run("sync")

    def kept(self) -> dict[str, dict[str, Entry]]:
        """What no wipe of var and conf may change."""
        return {place: tree_print(self.inside(place)) for place in (IDENT, KEEP)}

    def lines_left(self) -> dict[str, int]:
        """Of the secret, on the raw partitions."""
        return {name: self.disk.disk.count(name, NEEDLE) for name in ("conf", "var")}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, cluster_parts: None) -> Iterator[WipedHost]:
    host = WipedHost(tmp_path_factory.mktemp("wiped"))
    try:
        host.boot()
        yield host
    finally:
        host.power_off()
        host.disk.close()
        host.remove()


def record(host: WipedHost) -> WipeRecord:
    found = host.disk.record
    assert found is not None
    return found


def is_new(host: WipedHost) -> None:
    """Everything is mounted where it should be, nothing failed, and of the secret nothing is left."""
    assert record(host).phase is Phase.DONE, record(host)
    for name, where in MOUNTED.items():
        kind, label = host.run("findmnt", "-n", "-o", "FSTYPE,SOURCE", where).split()
        assert (kind, label.startswith("/dev/")) == ("ext4", True), (name, kind, label)
    assert f"upperdir={CONF}/etc/upper" in host.run("findmnt", "-n", "-o", "OPTIONS", "/etc")
    assert host.run("systemctl", "--failed", "--plain", "--no-legend").strip() == ""
    assert "ordering cycle" not in host.run("journalctl", "-b", "-o", "cat", "--no-pager", "_PID=1")
    assert not host.inside(ETC_FILE).exists()
    assert not host.inside(VAR_FILE).exists()
    assert host.lines_left() == {"conf": 0, "var": 0}


def test_the_hosts_own_reboot_erases_and_boots_on_with_what_is_kept(host: WipedHost) -> None:
    host.live()
    kept, first = host.kept(), host.pid1
    assert host.lines_left() == {"conf": LINES, "var": LINES}
    host.disk.arm(kit.armed())
    began = time.monotonic()
    host.call("systemctl", "reboot")
    host.wait_rebooted(first)
    print(f"up again {time.monotonic() - began:.1f} s after `systemctl reboot`")
    print(said := host.run("journalctl", "-b", "-u", "galley-wipe", "-o", "short-monotonic", "--no-pager"))
    assert "var: overwrite every block" in said
    is_new(host)
    assert host.kept() == kept


def test_the_next_reboot_erases_nothing(host: WipedHost) -> None:
    host.live()
    before, first = record(host), host.pid1
    host.call("systemctl", "reboot")
    host.wait_rebooted(first)
    assert record(host) == before
    assert [host.inside(place).read_text().count("\n") for place in (ETC_FILE, VAR_FILE)] == [LINES, LINES]


def test_power_that_fails_amid_the_erase_is_no_end_of_it(host: WipedHost) -> None:
    """SIGKILL to PID 1 when the journal says that `var` is overwritten in part; then power is back."""
    host.live()
    kept = host.kept()
    host.power_off()
    host.disk.arm(kit.armed(id="b" * 32, sequence=8))
    host.program.start()
    deadline = time.monotonic() + 60
    while not (state := record(host).targets[0]).offset:
        assert time.monotonic() < deadline, record(host)
        time.sleep(0.002)
    host.cut_power()
    cut = record(host)
    print(f"cut at {state.offset >> 20} of {state.area >> 20} MiB; the journal then: {cut.targets[0].offset >> 20} MiB")
    assert cut.phase is Phase.RUNNING
    assert cut.targets[0].stage in (Stage.ERASE, Stage.VERIFY)
    host.boot()
    is_new(host)
    assert host.kept() == kept
    assert record(host).id == "b" * 32


def test_while_it_cannot_be_decided_no_target_is_mounted(host: WipedHost) -> None:
    """The journal is in somebody's hands: the unit fails, the host comes up without its targets, and erases later."""
    host.live()
    host.power_off()
    host.disk.arm(kit.armed(id="d" * 32, sequence=9))
    held = os.open(host.disk.disk.device["journal"], os.O_RDWR | os.O_EXCL)
    try:
        host.boot()
    finally:
        os.close(held)
    assert host.property("galley-wipe.service", "Result") == "exit-code"
    mounted = host.run("findmnt", "-n", "-r", "-o", "TARGET").split()
    assert not set(mounted) & {"/etc", *MOUNTED.values()}
    assert (record(host).phase, host.lines_left()) == (Phase.ARMED, {"conf": LINES, "var": LINES})
    first = host.pid1
    host.call("systemctl", "reboot")
    host.wait_rebooted(first)
    is_new(host)
