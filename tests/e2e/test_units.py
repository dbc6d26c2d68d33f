"""The units of the image on its own root, under a real systemd: they start offline, are confined, restart, and end when
asked."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agents.contracts.ids import node_id
from edge_commander.access import LAN_PAGE
from images.nuc import units
from images.nuc.build import Built
from tests.site_in_a_box.host_suite import NODE_UNITS, PORTS, USERS, SuiteHost, alone

SERIAL = "GALLEY-E2E-0001"
EXPOSURE = 2.0
NOWHERE = {"urls": ["https://127.0.0.1:1"], "issuer": "https://galley.invalid"}
KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "site", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "vessel", "user": {"token": "none"}}],
    "contexts": [{"name": "site", "context": {"cluster": "site", "user": "vessel"}}],
    "current-context": "site",
}
SCENARIO = {
    "v": 1,
    "scenario": "site",
    "interval_seconds": 2,
    "report_seconds": 5,
    "steps": [{"name": "cloud", "type": "cloud", "timeout_seconds": 2}],
}
SETTINGS: dict[str, Any] = {
    "v": 1,
    "endpoint": NOWHERE,
    "vessel": {
        "atlas": {"url": "file:///srv/no-atlas", "branch": "main"},
        "kubeconfig": "/etc/galley/vessel.kubeconfig",
    },
    "synthetic_client": {"scenario": "/etc/galley/scenario.yaml"},
}
MORE = ("discovery", "console", "lan-page")
"""Units of daemons besides NODE_UNITS."""
ENDPOINT = "galley-endpoint.service"
"""The cloud's, which the image leaves out."""
PLACE = f"/{units.UNITS}"
GET = """
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=30) as answer:
    print(answer.status, answer.read().decode())
"""
unit = pytest.mark.parametrize("unit", NODE_UNITS)


@pytest.fixture(scope="module")
def host(image: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SuiteHost]:
    """A node that never reached its endpoint, nor anything else: it has no network but its own loopback."""
    with alone(image, tmp_path_factory.mktemp("host"), serial=SERIAL) as host:
        host.put(yaml.safe_dump(SETTINGS), {
            "scenario.yaml": yaml.safe_dump(SCENARIO), "vessel.kubeconfig": json.dumps(KUBECONFIG),
        })  # fmt: skip
        host.path(f"/etc/systemd/system/{ENDPOINT}").write_text(Path(f"systemd/{ENDPOINT}").read_text())
        host.boot()
        yield host


def get(host: SuiteHost, url: str) -> tuple[int, str]:
    """Status and body, asked from within."""
    status, _, body = host.run("/opt/galley/bin/python3", "-I", "-c", GET, url).partition(" ")
    return int(status), body


def test_systemd_finds_no_fault_in_the_units_and_no_ordering_cycle(host: SuiteHost) -> None:
    sources = (Path("systemd"), Path("images/nuc/files") / units.UNITS)
    kinds = (".service", ".socket", ".mount", ".target")
    files = {path.name for source in sources for path in source.iterdir() if path.suffix in kinds}
    found = set(host.run("ls", PLACE).split())
    assert len(files) == 25
    assert files - found == units.NOT_HERE == {ENDPOINT}
    assert {name for name in found if name.startswith("galley-") and "." in name and not name.endswith(".d")} <= files
    # What lies beside a verified file comes before all else: so this is also without what the image masks in /etc.
    verified = [f"{PLACE}/{name}" for name in sorted(files & found)]
    said = host.run("systemd-analyze", "verify", "--man=no", *verified, f"/etc/systemd/system/{ENDPOINT}", check=False)
    assert said.strip() == ""
    journal = host.run("journalctl", "-b", "--no-pager", "-o", "cat")
    assert "ordering cycle" not in journal.lower()
    assert host.run("systemctl", "--failed", "--no-legend", "--plain").strip() == ""


@pytest.mark.parametrize("unit", [*NODE_UNITS, *MORE, "endpoint"])
def test_exposure_is_low(host: SuiteHost, unit: str) -> None:
    said = host.run("systemd-analyze", "security", "--no-pager", f"galley-{unit}.service")
    found = re.search(r"exposure level for \S+: ([0-9.]+)", said)
    assert found is not None, said[-500:]
    assert float(found[1]) <= EXPOSURE, said


def test_the_wipe_may_open_disks_and_mount_one_and_no_more(host: SuiteHost) -> None:
    """Of what raises its exposure: CAP_SYS_ADMIN to mount `ident`, and the block devices."""
    said = host.run("systemd-analyze", "security", "--no-pager", "galley-wipe.service")
    found = re.search(r"exposure level for \S+: ([0-9.]+)", said)
    assert found is not None, said[-500:]
    assert float(found[1]) <= 3.0, said


@unit
def test_starts_with_no_endpoint_in_reach(host: SuiteHost, unit: str) -> None:
    host.wait_active(unit)
    assert host.property(f"galley-{unit}", "NRestarts") == "0", host.journal(unit)
    assert host.property(f"galley-{unit}", "Type") == "notify"


@unit
def test_runs_as_its_own_user_without_any_capability(host: SuiteHost, unit: str) -> None:
    host.wait_active(unit)
    status = dict(
        line.split(":", 1)
        for line in host.run("cat", f"/proc/{host.main_pid(unit)}/status").splitlines()
        if ":" in line
    )
    assert status["Uid"].split() == [str(USERS[unit])] * 4
    assert status["Gid"].split() == [str(USERS[unit])] * 4
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"


def test_users_have_their_fixed_ids_and_no_login(host: SuiteHost) -> None:
    for unit, uid in USERS.items():
        name = "galley-" + {"synthetic-client": "synthetic", "edge-commander": "commander"}.get(unit, unit)
        entry = host.run("getent", "passwd", str(uid)).strip().split(":")
        assert entry[:1] + entry[2:4] + entry[6:] == [name, str(uid), str(uid), "/usr/sbin/nologin"]


@unit
def test_state_is_for_its_owner_alone(host: SuiteHost, unit: str) -> None:
    host.wait_active(unit)
    folder = f"/var/lib/galley/{unit}"
    uid = USERS[unit]
    assert host.run("stat", "-c", "%a %u %g", folder).split() == ["700", str(uid), str(uid)]
    for other in set(USERS.values()) - {uid}:
        assert "Permission denied" in host.as_user(other, "ls", folder, check=False)
    assert host.shell("find {} -perm /077 ! -type l", folder).strip() == ""


def test_the_hardware_names_the_node_though_nobody_but_root_may_read_it(host: SuiteHost) -> None:
    host.wait_active("edge-commander", "heartbeat", "synthetic-client")
    for user in (771, 773):
        assert "Permission denied" in host.as_user(user, "cat", "/sys/class/dmi/id/product_serial", check=False)
    for unit in ("edge-commander", "heartbeat", "synthetic-client"):
        assert f'"node":"{node_id(SERIAL)}"' in host.journal(unit), unit


def test_a_credential_is_readable_by_its_unit_alone(host: SuiteHost) -> None:
    host.wait_active("heartbeat")
    file = "/run/credentials/galley-heartbeat.service/product_serial"
    assert host.as_user(USERS["heartbeat"], "cat", file).strip() == SERIAL
    assert "Permission denied" in host.as_user(USERS["vessel"], "cat", file, check=False)


def test_the_device_key_is_the_commanders_alone(host: SuiteHost) -> None:
    host.wait_active("edge-commander")
    keys = host.shell("ls /var/lib/galley-ident/device-keys.json").strip()
    assert host.run("stat", "-c", "%a %u", keys).split() == ["600", "773"]
    for uid in (770, 771, 772, 774):
        assert "Permission denied" in host.as_user(uid, "cat", keys, check=False)


def test_listens_on_the_ports_that_the_docs_name_and_no_other(host: SuiteHost) -> None:
    host.wait_active(*NODE_UNITS, "discovery", "lan-page")
    wanted = {f"127.0.0.1:{port}" for port in PORTS.values()} | {"0.0.0.0:9412"}
    deadline = time.monotonic() + 20
    while (found := _listening(host)) != wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    assert found == wanted


def _listening(host: SuiteHost) -> set[str]:
    """Listening TCP and unconnected UDP sockets."""
    return {line.split()[4] for line in host.run("ss", "-H", "-l", "-t", "-u", "-n").splitlines()}


def test_the_page_on_the_lan_shows_the_node_and_gets_at_nothing_else(host: SuiteHost) -> None:
    host.wait_active("edge-commander", "lan-page")
    page = "http://127.0.0.1:9412/"
    try:
        code, text = get(host, page)
        assert code == 200 and node_id(SERIAL) in text and SERIAL in text and "enrolling" in text
        status = host.run("cat", f"/proc/{host.main_pid('lan-page')}/status")
        assert f"Uid:\t{LAN_PAGE}\t" in status and "CapEff:\t0000000000000000" in status and "Seccomp:\t2" in status
        assert host.ask(LAN_PAGE, "/v1/status")[0] == 200
        assert {host.ask(LAN_PAGE, route)[0] for route in ("/v1/token", "/v1/site", "/v1/git-credential")} == {403}
        assert "Permission denied" in host.as_user(LAN_PAGE, "ls", "/var/lib/galley-ident", check=False)
        host.run("systemctl", "stop", "galley-edge-commander")
        deadline = time.monotonic() + 60
        while "does not answer" not in text and time.monotonic() < deadline:
            text = get(host, page)[1]
            time.sleep(0.5)
        assert "does not answer" in text and SERIAL in text
        assert host.property("galley-lan-page", "NRestarts") == "0", host.journal("lan-page")
        host.run("systemctl", "stop", "galley-lan-page")
        assert host.property("galley-lan-page", "Result") == "success", host.journal("lan-page")
    finally:
        host.run("systemctl", "start", "galley-edge-commander", "galley-lan-page")
    host.wait_active("edge-commander", "lan-page")


@unit
def test_killed_it_comes_back(host: SuiteHost, unit: str) -> None:
    host.wait_active(unit)
    before, restarts = host.main_pid(unit), int(host.property(f"galley-{unit}", "NRestarts"))
    host.run("kill", "-9", str(before))
    host.wait_property(f"galley-{unit}", "NRestarts", str(restarts + 1))
    host.wait_active(unit)
    assert host.main_pid(unit) not in (0, before)


def test_the_watchdog_ends_what_hangs_and_systemd_starts_it_again(host: SuiteHost) -> None:
    host.wait_active(*NODE_UNITS)
    for unit in NODE_UNITS:
        host.write(f"/run/systemd/system/galley-{unit}.service.d/fast.conf", "[Service]\nWatchdogSec=6\n")
    host.run("systemctl", "daemon-reload")
    try:
        host.run("systemctl", "restart", *(f"galley-{unit}" for unit in NODE_UNITS))
        host.wait_active(*NODE_UNITS)
        time.sleep(8)  # longer than the watchdog: it is being fed
        for unit in NODE_UNITS:
            assert host.property(f"galley-{unit}", "NRestarts") == "0", host.journal(unit)
        pids = {unit: host.main_pid(unit) for unit in NODE_UNITS}
        host.run("kill", "-STOP", *map(str, pids.values()))
        for unit, pid in pids.items():
            host.wait_property(f"galley-{unit}", "NRestarts", "1", seconds=45)
            host.wait_active(unit)
            assert host.main_pid(unit) != pid
            assert "Watchdog timeout" in host.run("journalctl", "-b", "-u", f"galley-{unit}", "--no-pager")
    finally:
        host.shell("rm -rf /run/systemd/system/galley-*.service.d; systemctl daemon-reload")
        host.run("systemctl", "restart", *(f"galley-{unit}" for unit in NODE_UNITS))


@unit
def test_asked_to_end_it_ends_cleanly_and_in_time(host: SuiteHost, unit: str) -> None:
    host.wait_active(unit)
    began = time.monotonic()
    host.run("systemctl", "stop", f"galley-{unit}")
    took = time.monotonic() - began
    assert host.property(f"galley-{unit}", "Result") == "success", host.journal(unit)
    assert host.property(f"galley-{unit}", "ExecMainCode") == "1"  # exited, not killed
    assert host.property(f"galley-{unit}", "ExecMainStatus") == "0"
    assert took < 10, f"{took:.1f} s"
    host.run("systemctl", "start", f"galley-{unit}")
    host.wait_active(unit)


def test_a_wrong_configuration_is_told_whole_and_not_tried_again(host: SuiteHost) -> None:
    bad = "node: {log_level: loud, colour: red}\n"
    bad += "".join(f"{unit.replace('-', '_')}: {{health: {{port: 70000}}, nonsense: 1}}\n" for unit in NODE_UNITS)
    host.write("/etc/galley/galley.d/50-wrong.yaml", bad)
    names = [f"galley-{unit}" for unit in NODE_UNITS]
    try:
        host.run("systemctl", "restart", *names, check=False)
        for unit in NODE_UNITS:
            host.wait_property(f"galley-{unit}", "ActiveState", "failed")
        time.sleep(3)  # RestartSec is 2: nobody tries again
        for unit in NODE_UNITS:
            section = unit.replace("-", "_")
            assert host.property(f"galley-{unit}", "ExecMainStatus") == "78"
            assert host.property(f"galley-{unit}", "ActiveState") == "failed"
            assert host.property(f"galley-{unit}", "NRestarts") == "0"
            said = host.journal(unit, "-n", "30")
            for path in ("node.log_level", "node.colour", f"{section}.health.port", f"{section}.nonsense"):
                assert path in said, f"{path}\n{said}"
    finally:
        host.shell("rm /etc/galley/galley.d/50-wrong.yaml; systemctl reset-failed 'galley-*'")
        host.run("systemctl", "restart", *names)
    host.wait_active(*NODE_UNITS)


def test_one_unit_restarted_alone_still_knows_its_machine(host: SuiteHost) -> None:
    host.wait_active("edge-commander", "heartbeat")
    host.run("systemctl", "stop", "galley-edge-commander")
    try:
        host.run("systemctl", "restart", "galley-heartbeat")
        host.wait_active("heartbeat")
        line = f'"node":"{node_id(SERIAL)}"'
        assert line in host.journal("heartbeat", "-n", "20")
        assert host.run("stat", "-c", "%U %a", "/run/galley").split() == ["galley-commander", "755"]
    finally:
        host.run("systemctl", "start", "galley-edge-commander")
    host.wait_active("edge-commander")


def test_vessels_unit_steps_back_where_the_pod_is_to_run_and_says_why(host: SuiteHost) -> None:
    host.write("/etc/galley/galley.d/70-pod.yaml", "vessel: {mode: pod}\n")
    try:
        host.run("systemctl", "restart", "galley-vessel", check=False)
        host.wait_property("galley-vessel", "ActiveState", "inactive")
        time.sleep(3)  # RestartSec is 2
        assert host.property("galley-vessel", "ActiveState") == "inactive"
        assert host.property("galley-vessel", "Result") == "success"
        assert "vessel.mode" in host.journal("vessel", "-n", "20")
    finally:
        host.run("rm", "/etc/galley/galley.d/70-pod.yaml")
        host.run("systemctl", "restart", "galley-vessel")
    host.wait_active("vessel")


def test_the_endpoints_unit_serves_and_ends_cleanly(host: SuiteHost) -> None:
    port, health = 8443, 9500
    host.run("galley-endpoint", "make-certs", "/etc/galley/certs", "--name", "127.0.0.1")
    host.shell("chown -R {0}:{0} /etc/galley/certs", USERS["endpoint"])
    own = {
        "tls": {
            "bind": "127.0.0.1",
            "port": port,
            "cert_file": "/etc/galley/certs/server.pem",
            "key_file": "/etc/galley/certs/server-key.pem",
        },
        "issuer": "https://cloud.galley.test",
        "health": {"bind": "127.0.0.1", "port": health},
    }
    host.write("/etc/galley/galley.d/80-cloud.yaml", json.dumps({"cloud_endpoint": own}))
    before = _listening(host)
    try:
        host.run("systemctl", "start", "galley-endpoint", check=False)
        host.wait_active("endpoint")
        wanted = {f"127.0.0.1:{port}", f"127.0.0.1:{health}"}
        deadline = time.monotonic() + 20
        while (found := _listening(host) - before) != wanted and time.monotonic() < deadline:
            time.sleep(0.2)
        assert found == wanted
        assert host.run("stat", "-c", "%a %u", "/var/lib/galley/galley-endpoint").split() == ["700", "774"]
        assert get(host, f"http://127.0.0.1:{health}/healthz")[0] == 200
        pid = host.main_pid("endpoint")
        host.run("kill", "-9", str(pid))
        host.wait_property("galley-endpoint", "NRestarts", "1")
        host.wait_active("endpoint")
        host.run("systemctl", "stop", "galley-endpoint")
        assert host.property("galley-endpoint", "Result") == "success", host.journal("endpoint")
    finally:
        host.shell("systemctl stop galley-endpoint; rm -f /etc/galley/galley.d/80-cloud.yaml")


BUNDLE = "0123456789abcdef" * 2
ASK_FOR_IT = """
import json, socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.settimeout(200)
sock.connect("/run/galley/machine.sock")
sock.sendall(json.dumps({"v": 1, "operation": "diagnostics", "argument": sys.argv[1]}).encode())
sock.shutdown(socket.SHUT_WR)
print(b"".join(iter(lambda: sock.recv(65536), b"")).decode())
"""
UNPACK_IT = """
import json, sys, tarfile
with tarfile.open(f"/var/lib/galley-keep/diagnostics/{sys.argv[1]}.tar.gz") as tar:
    print(json.dumps({m.name.partition("/")[2]: tar.extractfile(m).read().decode("latin-1") for m in tar.getmembers()}))
"""


def test_a_bundle_is_made_under_the_root_halfs_confinement_and_read_by_the_commander(host: SuiteHost) -> None:
    host.wait_active()
    host.wait_property("galley-machine.socket", "ActiveState", "active")
    commander = 773
    said = json.loads(host.as_user(commander, "/opt/galley/bin/python3", "-I", "-c", ASK_FOR_IT, BUNDLE))
    assert said["family"] == "done" and said["value"]["name"] == f"{BUNDLE}.tar.gz", said
    found = json.loads(host.as_user(commander, "/opt/galley/bin/python3", "-I", "-c", UNPACK_IT, BUNDLE))
    contents = json.loads(found["contents.json"])
    assert contents["passed_over"] == 0 and contents["secrets"] >= 2
    for name in ("logs/galley-edge-commander.txt", "logs/galley-vessel.txt", "state/units.txt", "state/state.json"):
        assert len(found[name]) > 100, (name, contents)
    assert "127.0.0.1" in found["machine/addresses.txt"] and "galley-vessel" in found["state/units.txt"]
    for daemon in NODE_UNITS:
        assert "200 OK" in found[f"state/{daemon}-metrics.txt"], daemon
    keys = json.loads(host.run("cat", "/var/lib/galley-ident/device-keys.json"))["value"]
    assert len(keys) == 2
    for one in keys.values():
        assert one["d"] not in json.dumps(found)
    heartbeat = 771
    listing = host.as_user(heartbeat, "ls", "/var/lib/galley-keep/diagnostics", check=False)
    assert BUNDLE not in listing
