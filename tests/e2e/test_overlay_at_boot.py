"""A host whose systemd mounts the overlay on /etc at its boot: drift, and a newer image at the next one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.site_in_a_box.host import Host
from tests.site_in_a_box.host_suite import USERS, free_name

ASK = """
import asyncio, json, pathlib
from edge_commander.machine.client import Machine
print(json.dumps(asyncio.run(Machine(pathlib.Path("/run/galley/machine.sock")).ask("overlay-diff"))))
"""
WANTS = {"local-fs.target": "galley-overlay.service", "sockets.target": "galley-machine.socket"}


def image(host: Host, version: str) -> None:
    """What the root below the overlay has."""
    host.path("/usr/lib/os-release").write_text(f"ID=debian\nIMAGE_ID=nuc\nIMAGE_VERSION={version}\n")
    host.path("/etc/issue").write_text(f"image {version}\n")


@pytest.fixture
def host(tmp_path: Path, host_base: Path) -> Iterator[Host]:
    binds = []
    for name, inside in (("conf", "/run/galley-conf"), ("keep", "/var/lib/galley-keep")):
        (tmp_path / name).mkdir()
        binds.append(f"--bind={tmp_path / name}:{inside}")
    one = Host(free_name("etc"), tmp_path / "host", options=binds)
    one.prepare()
    image(one, "1")
    one.path("/etc/galley/galley.yaml").write_text("v: 1\n")
    for target, unit in WANTS.items():
        link = one.path(f"/etc/systemd/system/{target}.wants/{unit}")
        link.symlink_to(f"/etc/systemd/system/{unit}")
    try:
        yield one
    finally:
        one.power_off()
        one.remove()


def asked(host: Host) -> dict[str, object]:
    """The root half's answer to the commander's user."""
    drop = ["setpriv", f"--reuid={USERS['edge-commander']}", f"--regid={USERS['edge-commander']}", "--clear-groups"]
    found: dict[str, object] = json.loads(host.run(*drop, "/opt/galley/bin/python3", "-I", "-c", ASK))
    return found


def test_the_overlay_is_mounted_at_boot_and_a_newer_image_shows(host: Host) -> None:
    host.boot()
    assert host.property("galley-overlay.service", "Result") == "success"
    assert host.run("findmnt", "-no", "FSTYPE,SOURCE", "/etc").split() == ["overlay", "galley-etc"]
    first = asked(host)
    assert (first["image"], first["problems"], first["memory"]) == ("nuc 1", [], False)
    host.run("sh", "-ec", "echo mine >> /etc/issue; echo site > /etc/hostname; mkdir /etc/own; echo x > /etc/own/x")
    paths = asked(host)["drift_paths"]
    assert isinstance(paths, list) and {"issue", "own", "own/x"} <= set(paths) and "hostname" not in paths
    done = host.call("edge-commander", "overlay", "diff")
    assert done.returncode == 1 and "drift    changed  issue (content)" in done.stdout, done.stdout
    host.power_off()
    image(host, "2")
    host.boot()
    assert host.run("cat", "/etc/issue", "/etc/hostname", "/etc/own/x") == "image 2\nsite\nx\n"
    after = asked(host)
    dropped = after["dropped"]
    assert after["image"] == "nuc 2" and isinstance(dropped, list)
    assert [path for _, path in dropped] == ["issue"]
    assert "issue: save it to keep" in host.run("journalctl", "-b", "-u", "galley-overlay", "-o", "cat", "--no-pager")
