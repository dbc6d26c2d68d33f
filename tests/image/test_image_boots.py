"""The NUC image under QEMU: a stick and a blank disk become a node that enrols by itself, then one from its disk alone.

One machine with a TPM, one without. Everything here is emulated: no test judges by time.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from images.nuc import chroot
from images.nuc.build import Built
from tests.site_in_a_box.endpoint import Endpoint
from tests.site_in_a_box.gpt import Partition, partitions
from tests.site_in_a_box.nuc import GATEWAY, Nuc, blank_disk, stick

SITE = "store-00077"
PORT = 8443
LABELS = ["esp", "root-a", "root-b", "journal", "ident", "keep", "conf", "var"]
UNITS = ("edge-commander", "heartbeat", "vessel", "synthetic-client", "discovery", "console", "lan-page")
LISTENS = {
    ("tcp", "127.0.0.1", 9401), ("tcp", "127.0.0.1", 9402), ("tcp", "127.0.0.1", 9403), ("tcp", "127.0.0.1", 9404),
    ("tcp", "0.0.0.0", 9411), ("tcp", "0.0.0.0", 9412), ("udp", "0.0.0.0", 5353), ("udp", "0.0.0.0", 68),
    ("udp", "0.0.0.0", 9410),
}  # fmt: skip
"""What docs/image.md names; containerd's streaming port, on loopback, is whatever is free."""
ENROL_SECONDS = 300.0
pytestmark = pytest.mark.timeout(1800)


class Shop:
    """An endpoint, and machines that were shipped to one site."""

    def __init__(self, built: Built, folder: Path) -> None:
        self.built = built
        self.folder = folder
        self.endpoint = Endpoint(folder / "cloud", names=[GATEWAY])
        self.endpoint.start()

    def ship(self, serial: str, *, tpm: bool) -> Nuc:
        """A machine with a blank disk, and a stick with its settings."""
        code = asyncio.run(self._ship(serial))
        place = self.folder / serial
        (place / "stick").mkdir(parents=True)
        (place / "disk").mkdir()
        medium = stick(self.built, place / "stick/stick.raw")
        self.put(medium, place, code)
        disks = [medium, blank_disk(place / "disk/disk.raw")]
        return Nuc(self.built, place / "m", disks, serial=serial, tpm=tpm, forward={PORT: self.endpoint.port})

    async def _ship(self, serial: str) -> str:
        async with self.endpoint.operator() as operator:
            await operator.put_site(SITE)
            return await operator.ship(serial, SITE, serial.lower())

    def settings(self) -> dict[str, Any]:
        """A node's galley.yaml."""
        return {
            "v": 1,
            "endpoint": {
                "urls": [f"https://{GATEWAY}:{PORT}"],
                "issuer": self.endpoint.issuer,
                "ca_file": "/etc/galley/ca.pem",
            },
            "heartbeat": {"interval_seconds": 5},
            "synthetic_client": {"scenario": "/etc/galley/scenario.yaml"},
            "edge_commander": {"enrol_code_file": "/etc/galley/enrol-code", "enrol_seconds": 5},
        }

    def put(self, medium: Path, place: Path, code: str) -> None:
        """The files on the stick's esp, as a person copies them."""
        files = place / "files"
        (files / "galley").mkdir(parents=True)
        scenario = {
            "v": 1,
            "scenario": "site",
            "interval_seconds": 30,
            "report_seconds": 30,
            "steps": [{"name": "cloud", "type": "cloud"}],
        }
        (files / "galley.yaml").write_text(yaml.safe_dump(self.settings()))
        (files / "galley/ca.pem").write_text(self.endpoint.ca_file.read_text())
        (files / "galley/scenario.yaml").write_text(yaml.safe_dump(scenario))
        (files / "galley/enrol-code").write_text(code)
        at = f"/run/medium/{medium.name}@@{partitions(medium)['esp'].start}"
        chroot.inside(
            self.built.toolbox, "mcopy", "-s", "-i", at, "/run/files/galley.yaml", "/run/files/galley", "::",
            binds={medium.parent: "medium", files: "files"},
        )  # fmt: skip

    def cloud(self, path: str) -> Any:
        """What the endpoint says to an operator."""

        async def ask() -> Any:
            async with self.endpoint.operator() as operator:
                return await operator.call("GET", path)

        return asyncio.run(ask())

    def node(self, name: str) -> dict[str, Any] | None:
        """The node as the endpoint knows it."""
        for one in self.cloud(f"/v1/fleet/nodes?site={SITE}"):
            if one["name"] == name.lower():
                found: dict[str, Any] = one
                return found
        return None

    def enrolled(self, name: str) -> bool:
        """Whether it proved to be the one that was shipped."""
        node = self.node(name)
        return node is not None and node["status"] != "shipped"


def wait(probe: Callable[[], Any], what: str, machine: Nuc, seconds: float = ENROL_SECONDS) -> Any:
    """Until it is so; with the machine's journal where it does not become so."""
    deadline = time.monotonic() + seconds
    while not (found := probe()):
        if time.monotonic() > deadline:
            said = machine.run("journalctl -b -n 60 --no-pager -o short-monotonic", check=False)
            raise AssertionError(f"{what}: not after {seconds:.0f} s\n{said}")
        time.sleep(1)
    return found


def settled(machine: Nuc) -> str:
    """What systemd says when nothing is to be started any more."""
    state = ""

    def done() -> bool:
        nonlocal state
        state = machine.run("systemctl is-system-running", check=False).strip()
        return state in ("running", "degraded")

    wait(done, "started", machine, seconds=600)
    return state


@pytest.fixture(scope="module")
def shop(image: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = Shop(image, tmp_path_factory.mktemp("image"))
    yield shop
    shop.endpoint.program.stop()


@pytest.fixture(scope="module")
def machine(shop: Shop) -> Iterator[Nuc]:
    """Without a TPM, at its first boot from the stick."""
    nuc = shop.ship("GALLEY-NUC-0001", tpm=False)
    try:
        nuc.boot()
        settled(nuc)
        yield nuc
    finally:
        nuc.cut_power()


def test_a_blank_disk_becomes_a_node_s_disk(machine: Nuc) -> None:
    made = partitions(machine.disks[1])
    assert list(made) == LABELS
    assert made["journal"].size == 1024 * 1024
    assert made["var"].size > 2**32 - 2**29
    table = machine.run("findmnt -rno TARGET,SOURCE,FSTYPE,OPTIONS")
    for label, where in (("var", "/var"), ("ident", "/var/lib/galley-ident"), ("keep", "/var/lib/galley-keep")):
        assert re.search(rf"^{where} /dev/vdb{LABELS.index(label) + 1} ext4 rw,nosuid,nodev", table, re.MULTILINE), (
            table
        )
    assert re.search(r"^/ /dev/vda2 erofs ro", table, re.MULTILINE), table
    assert re.search(r"^/etc overlay overlay rw", table, re.MULTILINE), table
    assert re.search(r"^/run/galley-conf /dev/vdb7 ext4 ", table, re.MULTILINE), table


def test_what_was_booted_is_what_was_installed(machine: Nuc) -> None:
    """Byte for byte: the next boot needs no stick."""
    stick_, disk = (partitions(one) for one in machine.disks)
    assert _content(machine.disks[0], stick_["root-a"]) == _content(machine.disks[1], disk["root-a"])
    assert _content(machine.disks[0], stick_["esp"]) == _content(machine.disks[1], disk["esp"])


def _content(file: Path, part: Partition) -> str:
    command = f"dd if='{file}' bs=1M skip={part.start // 2**20} count={part.size // 2**20} status=none | sha256sum"
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout


def test_every_unit_is_started_and_none_failed(machine: Nuc) -> None:
    assert not machine.run("systemctl --failed --no-legend --plain").strip()
    assert settled(machine) == "running"
    for unit in UNITS:
        assert machine.run(f"systemctl is-active galley-{unit}").strip() == "active", unit
    assert machine.run("systemctl is-active galley-distribution.socket").strip() == "active"
    assert "ordering cycle" not in machine.run("journalctl -b --no-pager _PID=1 | grep -i cycle", check=False)
    assert not machine.run("cat /run/galley-early/problems", check=False).replace(
        "cat: /run/galley-early/problems: No such file or directory", ""
    ).strip()  # fmt: skip


def test_it_enrols(shop: Shop, machine: Nuc) -> None:
    wait(lambda: shop.enrolled(machine.serial), "enrolled", machine)
    node = wait(lambda: (one := shop.node(machine.serial)) and one["beat_ms"] and one, "a beat", machine)
    assert node["site"] == SITE


def test_nothing_listens_that_the_docs_do_not_name(machine: Nuc) -> None:
    found = set()
    for line in machine.run("ss -Hltunp").splitlines():
        kind, _, _, _, local, _, *who = line.split()
        address, _, port = local.rpartition(":")
        if "containerd" in "".join(who) and address == "127.0.0.1":
            continue
        found.add((kind, address.partition("%")[0].strip("[]") or "*", int(port)))
    unknown = {one for one in found if one not in LISTENS and (one[0], "0.0.0.0", one[2]) not in LISTENS}
    assert not unknown


def screen(machine: Nuc) -> str:
    """What a telephone reads off the machine's screen."""
    machine.qmp("screendump", filename="/run/vm/screen.ppm")
    picture = machine.folder / "screen.ppm"
    command = ["zbarimg", "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", str(picture)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout.strip()


def test_a_telephone_reads_off_its_screen_who_it_is(shop: Shop, machine: Nuc) -> None:
    """In the kernel's own font; the console was there before the settings, and did not give up."""
    node = (shop.node(machine.serial) or {})["node"]
    said = wait(lambda: node in (found := screen(machine)) and found, "a code on the screen", machine)
    assert said.splitlines()[1:4] == [node, machine.serial, "10.0.2.15"], said
    assert machine.run("systemctl show -P NRestarts galley-console galley-lan-page").split() == ["0", "0"]


def page(machine: Nuc) -> str:
    """The page that it serves on the LAN."""
    ask = "import urllib.request as r; print(r.urlopen('http://10.0.2.15:9412/', timeout=60).read().decode())"
    return machine.run(f'python3 -I -c "{ask}"')


def test_the_page_on_the_lan_shows_the_same(shop: Shop, machine: Nuc) -> None:
    text = page(machine)
    for known in ((shop.node(machine.serial) or {})["node"], machine.serial, "10.0.2.15", SITE):
        assert known in text, text
    assert "<dt>wrong</dt>" not in text, text


def test_all_that_is_wrong_with_a_stick_is_shown_at_once(machine: Nuc) -> None:
    wrong = "v: 1\\nheartbeat: {interval_seconds: 0}\\nvessel: {nonsense: 1}\\nmachine: {ntp: [not a name]}\\n"
    machine.run(f"mkdir /run/wrong; printf '{wrong}' > /run/wrong/galley.yaml")
    apply = "/opt/galley/bin/python3 -I -B -m edge_commander.machine_settings.apply"
    machine.run(f"{apply} /run/wrong --name 'the stick'", check=False, seconds=300)
    try:
        text = wait(lambda: "wrong</dt>" in (found := page(machine)) and found, "the problems on the page", machine)
        for path in ("heartbeat.interval_seconds", "vessel.nonsense", "machine.ntp"):
            assert f"the stick: {path}" in text or re.search(rf"the stick: \S+: {path}", text), text
    finally:
        machine.run("rm /run/galley-notices/settings")


def test_a_node_without_settings_says_what_it_needs(machine: Nuc) -> None:
    machine.run("mv /etc/galley/galley.yaml /etc/galley/away; systemctl stop galley-edge-commander")
    try:
        wait(lambda: "no settings yet" in screen(machine), "the state on the screen", machine)
    finally:
        machine.run("mv /etc/galley/away /etc/galley/galley.yaml; systemctl start galley-edge-commander")
    wait(lambda: "no settings yet" not in screen(machine), "the settings again", machine)
    assert machine.run("systemctl show -P NRestarts galley-console").strip() == "0"


def test_nobody_can_log_in(machine: Nuc) -> None:
    """No password, no getty, no shell over the network."""
    open_ = [line for line in machine.run("cat /etc/shadow").splitlines() if line.split(":")[1][:1] not in ("*", "!")]
    assert not open_
    units = machine.run("systemctl list-units --no-legend --plain --all 'getty*' 'serial-getty*' 'ssh*' 'console*'")
    assert not [line for line in units.splitlines() if " active " in line]
    assert machine.run("ls /usr/sbin/sshd /usr/bin/sshd 2>/dev/null", check=False).strip() == ""


def test_a_second_start_is_from_the_disk_alone_with_the_same_identity(shop: Shop, machine: Nuc) -> None:
    node = shop.node(machine.serial)
    before = machine.run("cat /etc/machine-id; sha256sum /var/lib/galley-ident/*.json; echo kept > /etc/kept")
    machine.power_off()
    machine.disks = machine.disks[1:]
    machine.boot()
    assert settled(machine) == "running"
    assert machine.run("cat /etc/kept").strip() == "kept"
    after = machine.run("cat /etc/machine-id")
    assert after.splitlines()[0] == before.splitlines()[0]
    assert node is not None and (shop.node(machine.serial) or {})["node"] == node["node"]


def test_with_a_tpm_the_keys_are_in_it(shop: Shop) -> None:
    nuc = shop.ship("GALLEY-NUC-0002", tpm=True)
    try:
        nuc.boot()
        wait(lambda: shop.enrolled(nuc.serial), "enrolled", nuc, seconds=900)
        assert settled(nuc) == "running"
        files = nuc.run("ls /var/lib/galley-ident")
        assert "tpm" in files.lower(), files
    finally:
        nuc.cut_power()
