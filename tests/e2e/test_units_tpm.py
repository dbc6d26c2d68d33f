"""The image's commander beside a device that is called as a TPM is: it may open that one, and no other."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from images.nuc.build import Built
from tests.site_in_a_box.host_suite import USERS, SuiteHost, alone
from tests.site_in_a_box.nuc_shop import SCENARIO

UNIT = "edge-commander"
NOWHERE = {"urls": ["https://127.0.0.1:1"], "issuer": "https://galley.invalid"}
FUSE = os.makedev(10, 229)
"""A device that is there on every machine, and is no TPM: it can be opened, and answers nothing."""


@pytest.fixture
def host(image: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SuiteHost]:
    folder = tmp_path_factory.mktemp("host")
    device = folder / "tpmrm0"
    os.mknod(device, stat.S_IFCHR | 0o660, FUSE)
    device.chmod(0o660)
    options = [f"--bind={device}:/dev/tpmrm0"]
    with alone(image, folder, serial="GALLEY-TPM-0001", options=options) as host:
        groups = [line.split(":") for line in (folder / "image/etc/group").read_text().splitlines()]
        os.chown(device, 0, next(int(group[2]) for group in groups if group[0] == "tss"))
        host.put(yaml.safe_dump({"v": 1, "endpoint": NOWHERE, "synthetic_client": {"scenario": "/etc/galley/s.yaml"}}),
                 {"s.yaml": yaml.safe_dump(SCENARIO)})  # fmt: skip
        host.boot()
        yield host


def test_it_opens_the_tpm_and_no_other_device_and_waits_for_one_that_does_not_answer(host: SuiteHost) -> None:
    host.wait_active(UNIT)
    pid = host.main_pid(UNIT)
    inside = ["nsenter", "-t", str(pid), "-m"]
    kinds = host.run(
        *inside, "sh", "-c", "for d in /dev/*; do [ ! -L $d ] && [ -c $d -o -b $d ] && echo $d; done; true"
    )
    standard = {"null", "zero", "full", "random", "urandom", "tty", "ptmx"}
    assert {Path(line).name for line in kinds.split()} - standard == {"tpmrm0"}
    groups = host.run("grep", "^Groups:", f"/proc/{pid}/status").split()[1:]
    opened = "import os; os.close(os.open('/dev/tpmrm0', os.O_RDWR)); print('opened')"
    uid = str(USERS[UNIT])
    user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", f"--groups={','.join(groups)}", "--inh-caps=-all"]
    assert host.run(*inside, *user, "python3", "-c", opened) == "opened\n"

    deadline, told = time.monotonic() + 30, {}
    while not told.get("reason", "").startswith("waiting: tpm"):
        assert time.monotonic() < deadline, (told, host.journal(UNIT))
        time.sleep(0.2)
        status, told = host.ask(0, "/v1/status")
        assert status == 200
    assert host.shell("ls /var/lib/galley-ident").split().count("device-keys.json") == 0
    said = json.loads(host.run("/opt/galley/bin/edge-commander", "hardware", "--output", "json"))
    assert (said["hardware_id"], said["keys"], said["ek_hash"]) == ("GALLEY-TPM-0001", "either", "")
    assert said["tpm"]
