"""What every unit file must say, and that ports and users are the same in units, code and documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agents.contracts.identity import Role
from cloud_endpoint.settings import EndpointOwn, Tls
from edge_commander.access import CONSOLE, LAN_PAGE
from edge_commander.overlay.places import KEEP, UPPER
from edge_commander.settings import DEFAULT_ROLES, CommanderSettings
from heartbeat.settings import HeartbeatSettings
from synthetic_client.settings import SyntheticSettings
from vessel.settings import VesselSettings

ROOT = Path(__file__).resolve().parents[2]
NO_DAEMONS = ("wipe", "overlay", "console", "lan-page", "boot-gate")
UNITS = {
    path.stem.removeprefix("galley-"): path
    for path in sorted((ROOT / "systemd").glob("*[!@].service"))
    if path.stem.removeprefix("galley-") not in NO_DAEMONS
}
"""The daemons'. The root halves, one process a request, early boot, console and page have tests of their own."""
COMMANDS = {"endpoint": "galley-endpoint", "discovery": "galley-discovery"}
STATE = {"endpoint": "galley/galley-endpoint", "edge-commander": "galley/edge-commander galley-ident"}
USERS = {
    "vessel": ("galley-vessel", 770),
    "heartbeat": ("galley-heartbeat", 771),
    "synthetic-client": ("galley-synthetic", 772),
    "edge-commander": ("galley-commander", 773),
    "endpoint": ("galley-endpoint", 774),
    "discovery": ("galley-discovery", 775),
}
HARDENING = [
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectHostname=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "RemoveIPC=yes",
    "SystemCallArchitectures=native",
    "SystemCallErrorNumber=EPERM",
    "UMask=0077",
]
EXCEPTIONS = {"ProtectClock=yes": {"heartbeat"}, "ProtectProc=invisible": {"heartbeat"}}
LIFE = [
    "Type=notify",
    "NotifyAccess=main",
    "RestartSec=2",
    "RestartPreventExitStatus=78",
    "WatchdogSec=60",
    "TimeoutStopSec=15",
    "StateDirectoryMode=0700",
]
every_unit = pytest.mark.parametrize("unit", sorted(UNITS))


def lines(unit: str) -> list[str]:
    return [line for line in UNITS[unit].read_text().splitlines() if line and not line.startswith(("#", ";"))]


def test_there_is_a_unit_for_each_daemon() -> None:
    assert set(UNITS) == set(USERS)


@every_unit
def test_is_confined(unit: str) -> None:
    said = lines(unit)
    assert [line for line in HARDENING if line not in said] == []
    for line, but in EXCEPTIONS.items():
        assert (line in said) == (unit not in but), line
    filters = [line for line in said if line.startswith("SystemCallFilter=")]
    assert filters[0].split("=")[1].split()[0] == "@system-service"
    assert {"@privileged", "@obsolete"} <= set(filters[1].removeprefix("SystemCallFilter=~").split())
    families = next(line for line in said if line.startswith("RestrictAddressFamilies=")).partition("=")[2].split()
    assert set(families) - {"AF_NETLINK"} == {"AF_UNIX", "AF_INET", "AF_INET6"}
    assert any(re.fullmatch(r"MemoryMax=\d+M", line) for line in said)


@every_unit
def test_lives_as_the_design_says(unit: str) -> None:
    said = lines(unit)
    user, _ = USERS[unit]
    stateless = unit == "discovery"
    wanted = [
        *(line for line in LIFE if not (stateless and line.startswith("StateDirectory"))),
        f"User={user}",
        f"Group={user}",
        f"ExecStart=/opt/galley/bin/{COMMANDS.get(unit, unit)}",
        "RuntimeDirectory=galley-discovery" if stateless else f"StateDirectory={STATE.get(unit, f'galley/{unit}')}",
        # A unit of Vessel that lost to the pod exits 0 and stays down.
        "Restart=on-failure" if unit == "vessel" else "Restart=always",
        "StartLimitIntervalSec=0",
    ]
    assert [line for line in wanted if line not in said] == []


@every_unit
def test_uses_nothing_that_the_systemd_of_debian_12_does_not_know(unit: str) -> None:
    newer = ("RestartSteps=", "RestartMaxDelaySec=", "ImportCredential=", "PrivatePIDs=", "ProtectHostname=private")
    assert [line for line in lines(unit) if line.startswith(newer)] == []


@every_unit
def test_only_nodes_are_told_what_their_hardware_is_called(unit: str) -> None:
    given = {line.partition("=")[2] for line in lines(unit) if line.startswith("LoadCredential=")}
    tables = {f"{name}:/sys/class/dmi/id/{name}" for name in ("product_serial", "product_uuid", "board_serial")}
    assert given == (set() if unit == "endpoint" else tables)
    # Without a default, a machine without that table would not start the unit at all.
    defaults = {line.partition("=")[2] for line in lines(unit) if line.startswith("SetCredential=")}
    assert defaults == {f"{name.partition(':')[0]}:none" for name in given}


def test_the_root_half_of_a_distribution_is_asked_by_the_commander_alone_and_waits_for_nobody() -> None:
    socket = (ROOT / "systemd/galley-distribution.socket").read_text().splitlines()
    wanted = {
        "ListenStream=/run/galley/distribution.sock",
        "SocketUser=galley-commander",
        "SocketMode=0600",
        "Accept=yes",
    }
    assert wanted <= set(socket)
    served = (ROOT / "systemd/galley-distribution@.service").read_text().splitlines()
    assert {line for line in served if line.startswith(("User=", "EnvironmentFile=", "Restart="))} == set()
    kept = ["ProtectHome", "PrivateTmp", "ProtectClock", "ProtectKernelModules", "ProtectKernelLogs",
            "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality"]  # fmt: skip
    assert [name for name in kept if f"{name}=yes" not in served] == []
    assert (
        "StandardInput=socket" in served
        and "ExecStart=/opt/galley/bin/python3 -I -m edge_commander.distribution.runner" in served
    )


def test_the_root_half_of_the_machine_is_asked_by_the_commander_alone_and_may_do_little() -> None:
    socket = (ROOT / "systemd/galley-machine.socket").read_text().splitlines()
    wanted = {"ListenStream=/run/galley/machine.sock", "SocketUser=galley-commander", "SocketMode=0600", "Accept=yes"}
    assert wanted <= set(socket)
    served = (ROOT / "systemd/galley-machine@.service").read_text().splitlines()
    assert {line for line in served if line.startswith(("User=", "EnvironmentFile=", "Restart="))} == set()
    kept = ["StandardInput=socket", "NoNewPrivileges=yes", "ProtectSystem=strict",
            "ExecStart=/opt/galley/bin/python3 -I -B -m edge_commander.machine.runner"]  # fmt: skip
    assert [line for line in kept if line not in served] == []
    given = next(line for line in served if line.startswith("CapabilityBoundingSet=")).partition("=")[2].split()
    assert "CAP_SYS_BOOT" in given and "CAP_SYS_ADMIN" not in given
    assert any(line.startswith("SystemCallFilter=@system-service") for line in served)


def test_the_wipe_runs_before_anything_of_its_targets_is_mounted() -> None:
    said = (ROOT / "systemd/galley-wipe.service").read_text().splitlines()
    mounts = r"var.mount run-galley\x2dconf.mount"
    wanted = ["DefaultDependencies=no", f"Before=local-fs-pre.target {mounts} shutdown.target",
              "Wants=systemd-udevd.service local-fs-pre.target", "Conflicts=shutdown.target",
              "Type=oneshot", "RemainAfterExit=yes", "TimeoutStartSec=infinity", "PrivateMounts=yes",
              "PrivateNetwork=yes", "NoNewPrivileges=yes", f"RequiredBy={mounts}"]  # fmt: skip
    assert [line for line in wanted if line not in said] == []
    assert not [line for line in said if line.startswith(("StateDirectory", "PrivateTmp=yes", "RequiresMountsFor"))]


def test_the_overlay_on_etc_is_mounted_for_all_and_with_all_that_it_needs_later() -> None:
    said = (ROOT / "systemd/galley-overlay.service").read_text().splitlines()
    wanted = [
        "DefaultDependencies=no",
        "Conflicts=shutdown.target",
        "Type=oneshot",
        "RemainAfterExit=yes",
        "NoNewPrivileges=yes",
        "ExecStart=/opt/galley/bin/python3 -I -B -m edge_commander.overlay.boot",
    ]
    assert [line for line in wanted if line not in said] == []
    mounts = {"run-galley\\x2dconf.mount": UPPER, "var-lib-galley\\x2dkeep.mount": KEEP}
    for unit, folder in mounts.items():
        assert folder.startswith("/" + unit.removesuffix(".mount").replace("-", "/").replace("\\x2d", "-"))
        for word in ("Wants=", "After="):
            assert [line for line in said if line.startswith(word) and unit in line.partition("=")[2].split()]
    # systemd.exec(5): each of these gives a service a mount namespace of its own.
    own = ("Private", "Protect", "ReadOnly", "ReadWrite", "Inaccessible", "Bind", "Root", "StateDirectory", "Temporary",
           "RuntimeDirectory", "RestrictSUIDSGID")  # fmt: skip
    assert not [line for line in said if line.startswith(own)]
    assert not [line for line in said if line.startswith("Require")]  # a boot without conf goes on
    # overlayfs works with what its mounter had: the kernel's CAP_FS_SET, without what mandatory access control is for.
    files = {"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "LINUX_IMMUTABLE", "MKNOD", "SETFCAP"}
    kept = " ".join(line.partition("=")[2] for line in said if line.startswith("CapabilityBoundingSet=")).split()
    assert set(kept) == {f"CAP_{name}" for name in (*files, "SYS_ADMIN")}


def test_what_reads_the_lan_gets_at_nothing_of_the_node() -> None:
    said = lines("discovery")
    hidden = next(line for line in said if line.startswith("InaccessiblePaths=")).partition("=")[2].split()
    kept = {"/run/galley", "/run/galley-access", "/var/lib/galley", "/var/lib/galley-ident", "/etc/galley"}
    assert kept <= {path.removeprefix("-") for path in hidden}
    assert not [line for line in said if line.startswith(("StateDirectory=", "ReadWritePaths=", "BindPaths="))]
    assert "IPAddressDeny=any" in said and any(line.startswith("CPUQuota=") for line in said)
    assert str(USERS["discovery"][1]) not in DEFAULT_ROLES  # the identity socket knows no such caller


def test_the_console_shows_and_does_nothing_else() -> None:
    said = [line for line in (ROOT / "systemd/galley-console.service").read_text().splitlines() if line]
    wanted = [
        "User=galley-console",
        "StandardInput=null",
        "StandardOutput=tty",
        "TTYPath=/dev/tty1",
        "ExecStart=/opt/galley/bin/galley-console",
        "RestrictAddressFamilies=AF_UNIX",
        "IPAddressDeny=any",
        "DevicePolicy=closed",
        "DeviceAllow=/dev/tty1 rw",
        "Conflicts=getty@tty1.service",
    ]
    confined = set(HARDENING) - {"PrivateDevices=yes"}  # its terminal is a device
    assert [line for line in (*wanted, *confined) if line not in said] == []
    assert not [line for line in said if line.startswith(("StateDirectory", "ReadWritePaths"))]
    assert not [line for line in said if line.startswith("RestartPreventExitStatus")]  # it never gives up
    assert str(CONSOLE) not in DEFAULT_ROLES  # it may read the status alone


def test_the_page_on_the_lan_shows_and_does_nothing_else() -> None:
    said = [line for line in (ROOT / "systemd/galley-lan-page.service").read_text().splitlines() if line]
    wanted = [
        "Type=notify",
        "WatchdogSec=60",
        "User=galley-lan-page",
        "ExecStart=/opt/galley/bin/galley-lan-page",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
        "IPAddressDeny=any",
    ]
    assert [
        line for line in (*wanted, *HARDENING, "ProtectClock=yes", "ProtectProc=invisible") if line not in said
    ] == []
    hidden = next(line for line in said if line.startswith("InaccessiblePaths=")).partition("=")[2].split()
    kept = {"/run/galley-access", "/var/lib/galley", "/var/lib/galley-ident", "/var/lib/galley-keep", "/etc/kubernetes"}
    assert {path.removeprefix("-") for path in hidden} == kept
    assert not [line for line in said if line.startswith(("StateDirectory", "ReadWritePaths", "BindPaths"))]
    assert not [line for line in said if line.startswith("RestartPreventExitStatus")]  # it never gives up
    for bound in ("CPUQuota=", "MemoryMax=", "TasksMax=", "LimitNOFILE="):
        assert any(line.startswith(bound) for line in said), bound
    assert str(LAN_PAGE) not in DEFAULT_ROLES  # it may read the status alone


def test_nothing_waits_for_the_network() -> None:
    for unit in set(UNITS) - {"endpoint"}:
        assert not [line for line in lines(unit) if "network-online" in line]


def test_no_path_is_made_by_two_lines_of_tmpfiles() -> None:
    """The first file by name wins, and the other line's mode and owner are passed over with a warning at each boot."""
    files = [*(ROOT / "systemd/tmpfiles.d").glob("*.conf"), *(ROOT / "images/nuc").rglob("tmpfiles.d/*.conf")]
    lines = [line.split() for file in files for line in file.read_text().splitlines()]
    paths = [line[1] for line in lines if line and not line[0].startswith("#")]
    assert len(files) >= 3
    assert [one for one in paths if paths.count(one) > 1] == []


def test_users_are_the_same_in_sysusers_and_at_the_identity_socket() -> None:
    entries = [line.split() for line in (ROOT / "systemd/sysusers.d/galley.conf").read_text().splitlines()]
    found = {entry[1]: int(entry[2]) for entry in entries if entry[:1] == ["u"]}
    assert found == {**dict(USERS.values()), "galley-console": CONSOLE, "galley-lan-page": LAN_PAGE}
    roles = {"vessel": Role.VESSEL, "heartbeat": Role.HEARTBEAT, "synthetic-client": Role.SYNTHETIC}
    roles["edge-commander"] = Role.COMMANDER
    assert {str(USERS[unit][1]): role for unit, role in roles.items()} == DEFAULT_ROLES


def test_the_documentation_names_every_port_and_user() -> None:
    text = (ROOT / "docs/hardening.md").read_text()
    tls = Tls(cert_file="c", key_file="k")
    ports = {
        "vessel": VesselSettings().health.port,
        "heartbeat": HeartbeatSettings().own_port.port,
        "synthetic-client": SyntheticSettings(scenario="s").health.port,
        "edge-commander": CommanderSettings().health.port,
        "endpoint": EndpointOwn(tls=tls, issuer="https://i").health.port,
    }
    assert ports == {
        "vessel": 9401,
        "heartbeat": 9402,
        "synthetic-client": 9403,
        "edge-commander": 9404,
        "endpoint": 8080,
    }
    page = CommanderSettings().page
    assert (page.bind, page.port) == ("0.0.0.0", 9412)
    for unit, port in {**ports, "endpoint tls": tls.port, "page": page.port}.items():
        assert re.search(rf"\| {port} \|", text), f"{unit}: {port}"
    for user, uid in (*USERS.values(), ("galley-console", CONSOLE), ("galley-lan-page", LAN_PAGE)):
        assert re.search(rf"\| `{user}` \| {uid} \|", text), user
