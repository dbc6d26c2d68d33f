"""The image's root where systemd mounts the overlay on /etc at its boot: drift, and a newer image at the next one."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.nuc.build import Built
from tests.site_in_a_box.host import Host
from tests.site_in_a_box.host_suite import USERS, free_name
from tests.site_in_a_box.image_host import ImageHost, mounted_root

ASK = """
import asyncio, json, pathlib
from edge_commander.machine.client import Machine
print(json.dumps(asyncio.run(Machine(pathlib.Path("/run/galley/machine.sock")).ask("overlay-diff"))))
"""


class Unlaid(ImageHost):
    """The image's root, of which a test says what another version of it has. Nobody has laid /etc: the unit does.
    Its daemons, which have no part in that, are not started."""

    mount = Host.mount
    etc = "--bind={folder}/conf:/run/galley-conf"
    path = Host.path

    def image(self, version: str) -> None:
        """What the root below the overlay has."""
        own = (self.tree / "usr/lib/os-release").read_text()
        self.path("/usr/lib/os-release").write_text(re.sub(r"(?m)^IMAGE_VERSION=.*", f"IMAGE_VERSION={version}", own))
        self.path("/etc/issue").write_text(f"image {version}\n")


@pytest.fixture
def host(tmp_path: Path, image: Built) -> Iterator[Unlaid]:
    with mounted_root(image, tmp_path) as root:
        one = Unlaid(free_name("etc"), tmp_path / "host", root, serial="GALLEY-ETC-1", options=["--private-network"])
        one.image("1")
        one.path("/etc/galley/galley.yaml").write_text("v: 1\n")
        one.path("/etc/systemd/system/galley.target").symlink_to("/dev/null")
        # Without one systemd mounts one of its own, which the overlay hides: the journal would have two names.
        one.path("/etc/machine-id").write_text(uuid.uuid4().hex + "\n")
        try:
            yield one
        finally:
            one.power_off()
            one.remove()


def asked(host: Unlaid) -> dict[str, object]:
    """The root half's answer to the commander's user."""
    drop = ["setpriv", f"--reuid={USERS['edge-commander']}", f"--regid={USERS['edge-commander']}", "--clear-groups"]
    found: dict[str, object] = json.loads(host.run(*drop, "/opt/galley/bin/python3", "-I", "-c", ASK))
    return found


def test_the_overlay_is_mounted_at_boot_and_a_newer_image_shows(host: Unlaid) -> None:
    host.boot()
    assert host.property("galley-overlay.service", "Result") == "success"
    assert host.run("findmnt", "-no", "FSTYPE,SOURCE", "/etc").split() == ["overlay", "galley-etc"]
    first = asked(host)
    assert (first["image"], first["problems"], first["memory"]) == ("galley-nuc 1", [], False)
    host.run("sh", "-ec", "echo mine >> /etc/issue; echo site > /etc/hostname; mkdir /etc/own; echo x > /etc/own/x")
    paths = asked(host)["drift_paths"]
    assert isinstance(paths, list) and {"issue", "own", "own/x"} <= set(paths) and "hostname" not in paths
    done = host.call("edge-commander", "overlay", "diff")
    assert done.returncode == 1 and "drift    changed  issue (content)" in done.stdout, done.stdout
    host.power_off()
    host.image("2")
    host.boot()
    assert host.run("cat", "/etc/issue", "/etc/hostname", "/etc/own/x") == "image 2\nsite\nx\n"
    after = asked(host)
    dropped = after["dropped"]
    assert after["image"] == "galley-nuc 2" and isinstance(dropped, list)
    assert [path for _, path in dropped] == ["issue"]
    assert "issue: save it to keep" in host.run("journalctl", "-b", "-u", "galley-overlay", "-o", "cat", "--no-pager")
