"""The life of two NUCs under QEMU, one with a TPM: from a stick and a blank disk to a node that follows its Atlas.

Both live at the same time, so that few boots of all wait for one another. The second one's battery clock is
years ahead. Emulated: no test judges by time. How they are wiped: test_image_wiped.py.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.nuc.build import Built, suite_version
from tests.site_in_a_box.gpt import Partition, partitions
from tests.site_in_a_box.nuc_cluster import NucCluster
from tests.site_in_a_box.nuc_life import IDENT, KEEP, Life
from tests.site_in_a_box.nuc_shop import Shop, wait
from tests.site_in_a_box.nuc_sight import ADDRESS, page, screen

SITES = ("store-00077", "store-00078")
LABELS = ["esp", "root-a", "root-b", "journal", "ident", "keep", "conf", "var"]
LISTENS = {
    ("tcp", "127.0.0.1", 9401), ("tcp", "127.0.0.1", 9402), ("tcp", "127.0.0.1", 9403), ("tcp", "127.0.0.1", 9404),
    ("tcp", "0.0.0.0", 9411), ("tcp", "0.0.0.0", 9412), ("udp", "0.0.0.0", 5353), ("udp", "0.0.0.0", 68),
    ("udp", "0.0.0.0", 9410),
}  # fmt: skip
"""What docs/image.md names; containerd's streaming port, on loopback, is whatever is free."""
DISK_GIB = 6
PLUG_IN = (
    "truncate -s 8M /run/wrong.raw && mke2fs -q -t ext4 -L GALLEY -d /run/wrong /run/wrong.raw && modprobe loop && "
    "losetup -f --show /run/wrong.raw > /run/wrong.loop && udevadm settle && mkdir -p /dev/disk/by-label && "
    "ln -sf $(cat /run/wrong.loop) /dev/disk/by-label/GALLEY && systemctl start galley-stick"
)
"""As udev does with a stick, whose unit then finds what it mounts by the label."""
AHEAD = "2036-06-01T00:00:00"
pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def shop(image: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = Shop(image, tmp_path_factory.mktemp("image"))
    yield shop
    shop.endpoint.stop()


@pytest.fixture(scope="module")
def cluster(shop: Shop, kube_binaries: Path) -> Iterator[NucCluster]:
    with NucCluster(shop.folder / "cluster", SITES[0], (shop.certificate, shop.key)) as cluster:
        cluster.commit("hello")
        yield cluster


@pytest.fixture(scope="module")
def lives(shop: Shop, cluster: NucCluster) -> Iterator[list[Life]]:
    """Both at their first boot, from the stick."""
    first = shop.ship(
        "GALLEY-NUC-0001", tpm=False, site=SITES[0], atlas=cluster.atlas, forward=cluster.forward,
        sections=cluster.sections, files=cluster.files(), gib=DISK_GIB,
    )  # fmt: skip
    second = shop.ship("GALLEY-NUC-0002", tpm=True, site=SITES[1], gib=DISK_GIB)
    second.clock = AHEAD
    lives = [Life(shop, first, SITES[0]), Life(shop, second, SITES[1])]
    try:
        for life in lives:
            life.machine.start()
        yield lives
    finally:
        for life in lives:
            life.machine.cut_power()


@pytest.fixture(params=[0, 1], ids=["without a TPM", "with a TPM"])
def life(request: pytest.FixtureRequest, lives: list[Life]) -> Life:
    return lives[int(request.param)]


def test_it_boots_from_the_stick_and_enrols(lives: list[Life]) -> None:
    for life in lives:
        life.machine.wait_shell(600)
    for life in lives:
        assert "fsck.erofs" not in life.machine.console(), "it looks like a fault, and is none"
        assert life.wait_enrolled()["site"] == life.site
        wait(lambda life=life: life.node["beat_ms"], "a beat", life.machine)  # type: ignore[misc]


def test_every_unit_is_started_and_none_failed(life: Life) -> None:
    life.wait_units()
    run = life.machine.run
    assert not run("systemctl --failed --no-legend --plain").strip()
    assert run("systemctl is-active galley-distribution.socket galley-machine.socket").split() == ["active"] * 2
    assert not run("journalctl -b --no-pager _PID=1 | grep -i 'ordering cycle'", check=False).strip()
    assert not run("cat /run/galley-early/problems 2>/dev/null", check=False).strip()


def test_the_endpoint_knows_what_runs(life: Life, shop: Shop) -> None:
    versions = life.node["facts"]["versions"]
    assert (versions["galley"], versions["image"]) == (suite_version(), shop.built.version)


def test_no_disk_is_called_full(life: Life) -> None:
    """The root is read-only and has no byte free, which is as it should be."""
    wait(lambda: "beating" in _status(life), "heartbeat says how it is", life.machine)
    assert "disk" not in _status(life)


def _status(life: Life) -> str:
    return life.machine.run("systemctl show -P StatusText galley-heartbeat")


def test_a_blank_disk_became_a_node_s_disk(life: Life) -> None:
    made = partitions(life.machine.disks[1])
    assert list(made) == LABELS
    assert made["journal"].size == 1024 * 1024
    table = {}
    for line in life.machine.run("findmnt -rno TARGET,SOURCE,FSTYPE,OPTIONS").splitlines():
        target, source, kind, options = line.split()
        table[target] = (source, kind, options.split(","))
    for where in ("/var", IDENT, KEEP, "/run/galley-conf"):
        source, kind, options = table[where]
        assert source.startswith("/dev/") and kind == "ext4" and {"rw", "nosuid", "nodev"} <= {*options}, table[where]
    assert table["/"][:2] == ("/dev/vda2", "erofs")
    assert table["/etc"][1] == "overlay"
    assert "upperdir=/run/galley-conf/etc/upper" in table["/etc"][2]


def test_what_was_booted_is_what_was_installed(life: Life) -> None:
    """Byte for byte: the next boot needs no stick. The root half mounts the esp for a moment now and then, and FAT
    notes that on the disk for as long as it is mounted."""

    def same(label: str) -> bool:
        found = {_content(disk, partitions(disk)[label]) for disk in life.machine.disks}
        return len(found) == 1

    for label in ("root-a", "esp"):
        wait(lambda: same(label), f"{label} as on the stick", life.machine)  # noqa: B023 - at once


def _content(file: Path, part: Partition) -> str:
    command = f"dd if='{file}' bs=1M skip={part.start // 2**20} count={part.size // 2**20} status=none | sha256sum"
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout


def test_nothing_listens_that_the_docs_do_not_name(life: Life) -> None:
    found = set()
    for line in life.machine.run("ss -Hltunp").splitlines():
        kind, _, _, _, local, _, *who = line.split()
        address, _, port = local.rpartition(":")
        if "containerd" in "".join(who) and address == "127.0.0.1":
            continue
        found.add((kind, address.partition("%")[0].strip("[]") or "*", int(port)))
    assert ("tcp", "127.0.0.1", 9404) in found
    assert not {one for one in found if one not in LISTENS and (one[0], "0.0.0.0", one[2]) not in LISTENS}


def test_a_kubeconfig_of_the_stick_is_read_by_its_daemon_alone(lives: list[Life]) -> None:
    said = lives[0].machine.run(
        "cd /etc/galley && stat -c '%n %a %U' vessel.kubeconfig commander.kubeconfig enrol-code"
    )
    assert said.split("\n")[:3] == [
        "vessel.kubeconfig 600 galley-vessel", "commander.kubeconfig 600 galley-commander",
        "enrol-code 600 galley-commander",
    ]  # fmt: skip


def test_nobody_can_log_in(life: Life) -> None:
    """No password, no getty, no shell over the network."""
    shadow = life.machine.run("cat /etc/shadow").splitlines()
    assert not [line for line in shadow if line.split(":")[1][:1] not in ("*", "!")]
    units = life.machine.run(
        "systemctl list-units --no-legend --plain --all 'getty*' 'serial-getty*' 'ssh*' 'console*'"
    )
    assert not [line for line in units.splitlines() if " active " in line]
    assert life.machine.run("ls /usr/sbin/sshd /usr/bin/sshd 2>/dev/null", check=False).strip() == ""


def test_a_telephone_reads_off_its_screen_who_it_is(life: Life) -> None:
    """In the kernel's own font; the console was there before the settings, and did not give up."""
    machine, node = life.machine, life.node["node"]
    said = wait(lambda: node in (found := screen(machine)) and found, "a code on the screen", machine)
    assert said.splitlines()[1:4] == [node, machine.serial, ADDRESS], said
    assert machine.run("systemctl show -P NRestarts galley-console galley-lan-page").split() == ["0", "0"]


def test_the_page_on_the_lan_shows_the_same(life: Life) -> None:
    text = page(life.machine)
    for known in (life.node["node"], life.machine.serial, ADDRESS, life.site):
        assert known in text, text
    assert "<dt>wrong</dt>" not in text, text


def test_all_that_is_wrong_with_a_stick_is_shown_at_once(lives: list[Life]) -> None:
    machine = lives[1].machine
    wrong = "v: 1\\nheartbeat: {interval_seconds: 0}\\nvessel: {nonsense: 1}\\nmachine: {ntp: [not a name]}\\n"
    machine.run(f"mkdir /run/wrong; printf '{wrong}' > /run/wrong/galley.yaml")
    machine.run(PLUG_IN, seconds=300)
    try:
        text = wait(lambda: "wrong</dt>" in (found := page(machine)) and found, "the problems on the page", machine)
        for path in ("heartbeat.interval_seconds", "vessel.nonsense", "machine.ntp"):
            assert f"the stick: {path}" in text or re.search(rf"the stick: \S+: {path}", text), text
    finally:
        machine.run("rm /run/galley-notices/settings /dev/disk/by-label/GALLEY; losetup -d $(cat /run/wrong.loop)")


def test_a_node_without_settings_says_what_it_needs(lives: list[Life]) -> None:
    machine = lives[1].machine
    machine.run("mv /etc/galley/galley.yaml /etc/galley/away; systemctl stop galley-edge-commander")
    try:
        wait(lambda: "no settings yet" in screen(machine), "the state on the screen", machine)
    finally:
        machine.run("mv /etc/galley/away /etc/galley/galley.yaml; systemctl start galley-edge-commander")
    wait(lambda: "no settings yet" not in screen(machine), "the settings again", machine)
    assert machine.run("systemctl show -P NRestarts galley-console").strip() == "0"


def test_with_a_tpm_the_keys_are_in_it_and_else_in_a_file(lives: list[Life]) -> None:
    without, within = (one.machine.run(f"ls {IDENT}").split() for one in lives)
    assert "device-keys.json" in without and "tpm-keys.json" not in without
    assert "tpm-keys.json" in within and "device-keys.json" not in within


def test_a_clock_years_ahead_is_said_and_stops_nobody(lives: list[Life]) -> None:
    ahead = lives[1].machine
    assert ahead.run("date +%Y").strip() == "2036"
    assert "the endpoint" in ahead.run("edge-commander status")


def test_vessel_follows_the_atlas_to_the_cluster_and_the_endpoint_sees_it(
    lives: list[Life], shop: Shop, cluster: NucCluster
) -> None:
    machine = lives[0].machine
    wait(lambda: cluster.greeting() == "hello", "the Atlas is applied", machine)
    revision = cluster.commit("good evening")
    wait(lambda: cluster.greeting() == "good evening", "the next commit is applied", machine)

    def seen() -> bool:
        found = [one["body"] for one in shop.cloud(f"/v1/fleet/sites/{SITES[0]}")["deployments"]]
        return ("card", "healthy", revision) in [(one["app"], one["phase"], one["revision"]) for one in found]

    wait(seen, f"the endpoint sees {revision}", machine)
