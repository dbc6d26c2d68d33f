"""A commander, its root half, a real journal and early boot, and a real endpoint: from the command to one answer."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import secrets
import sqlite3
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from agents.contracts.codec import encode
from agents.contracts.command import Command, Verb
from agents.contracts.ids import Stream
from agents.core.command_verify import sign_command
from agents.io.config import load
from agents.io.outbox.store import create
from edge_commander.settings import CommanderSettings
from edge_commander.wipe import boot
from edge_commander.wipe.disk import Disk
from edge_commander.wipe.journal import Journal
from edge_commander.wipe.record import Phase, WipeRecord
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient
from tests.site_in_a_box.image_line import Doorman
from tests.site_in_a_box.node_disk import NodeDisk

SIZES = {"journal": 1, "ident": 1, "keep": 1, "conf": 8, "var": 8}
ROOT = Path(__file__).parents[3]
RUN = "0123456789abcdef"


class Box:
    """One node: its commander's process, its root half behind a socket, its disk."""

    def __init__(self, commander: Any, disk: NodeDisk, stack: ExitStack, key: Any) -> None:
        self.commander, self.disk, self.key = commander, disk, key
        self.rebooted = commander.folder / "rebooted"
        commander.run_dir.mkdir(parents=True, exist_ok=True)
        command = [
            *as_the_unit(),
            sys.executable,
            "-m",
            "edge_commander.machine.runner",
            "--config",
            str(commander.config),
        ]
        log = commander.folder / "machine.log"
        stack.enter_context(Doorman(commander.run_dir / "machine.sock", command, commander.program.env, log))

    @property
    def settings(self) -> CommanderSettings:
        return load("edge_commander", CommanderSettings, self.commander.config).own

    def record(self) -> WipeRecord | None:
        while True:
            try:
                with Disk(self.disk.device["journal"]) as device:
                    return Journal(device).record
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                time.sleep(0.01)  # the root half looks at it just now, and has it for itself

    async def reboots(self) -> None:
        """Until it was told to; what an early boot does then, and the start after it."""
        await until(self.rebooted.exists, lambda: self.commander.program.log_tail())
        self.rebooted.unlink()
        self.commander.program.stop()
        found = self.record()
        assert found is not None and found.phase is Phase.ARMED
        assert boot.run(self.settings) == 0
        facts = json.loads((self.commander.folder / "machine.json").read_text()) | {"boot_id": str(uuid.uuid4())}
        (self.commander.folder / "machine.json").write_text(json.dumps(facts))

    def lose_var(self) -> None:
        """What lay on `var` lies here in a folder of its own."""
        for file in sorted((self.commander.folder / "state").rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()


def as_the_unit() -> list[str]:
    """With the capabilities that the unit leaves to root, and no others."""
    lines = (ROOT / "systemd/galley-machine@.service").read_text().splitlines()
    given = next(line for line in lines if line.startswith("CapabilityBoundingSet=")).partition("=")[2].split()
    named = ",".join(f"+{one.removeprefix('CAP_').lower()}" for one in given)
    return ["setpriv", f"--bounding-set=-all,{named}", "--no-new-privs"]


async def until(what: Callable[[], Any], told: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, told()
        await asyncio.sleep(0.05)


@pytest.fixture
def boxes(tmp_path: Path, endpoint: Endpoint, commanders: Callable[..., Any]) -> Iterator[Callable[[int], Box]]:
    with ExitStack() as stack:
        key = endpoint.key(endpoint.command_key_file)

        def make(number: int) -> Box:
            folder = tmp_path / f"nuc-{number}"
            folder.mkdir()
            disk = stack.enter_context(NodeDisk(folder, SIZES))
            (folder / "operators.json").write_text(json.dumps({"v": 1, "operators": [key.public]}))
            commander = commanders(
                folder, endpoint, f"NUC-{number}", operators_file=str(folder / "operators.json"),
                wipe={**disk.config(), "turn_seconds": 30, "outbox_seconds": 2},
                machine={"reboot": ["touch", str(folder / "rebooted")]},
            )  # fmt: skip
            return Box(commander, disk, stack, key)

        yield make


async def enrolled(box: Box, operator: EndpointClient, site: str, name: str) -> None:
    await operator.put_site(site)
    (box.commander.folder / "code").write_text(await operator.ship(box.commander.hardware_id, site, name))
    box.commander.start()
    await until(lambda: box.commander.state == "forming", lambda: box.commander.program.log_tail())


async def send(
    operator: EndpointClient, box: Box, site: str, targets: Sequence[str], verb: Verb = Verb.WIPE, **args: str
) -> str:
    node = box.commander.node
    ready: dict[str, Any] = {}
    for _ in range(300):
        ready = await operator.call("GET", f"/v1/nodes/{node}/next-command")
        if ready["challenge"]:
            break
        await asyncio.sleep(0.1)
    now = int(time.time())
    command = Command(
        id=secrets.token_hex(16), verb=verb, site=site, node=node, sequence=ready["sequence"],
        challenge=ready["challenge"], issued=now, expires=now + 600, targets=list(targets), args=args,
    )  # fmt: skip
    signed = sign_command(command, [box.key])
    await operator.call("POST", f"/v1/nodes/{node}/commands", json.loads(encode(signed)))
    return command.id


async def answer(operator: EndpointClient, box: Box, command_id: str) -> dict[str, Any]:
    for _ in range(600):
        for one in await operator.call("GET", f"/v1/nodes/{box.commander.node}/commands"):
            if one["command_id"] == command_id and one["outcome"]:
                return dict(one)
        await asyncio.sleep(0.1)
    raise AssertionError(f"not answered: {box.commander.record()}\n{box.commander.program.log_tail()}")


def leave_messages(box: Box) -> None:
    """Heartbeat's outbox: 5 messages were made, 2 and 3 are not acknowledged, and will not be."""
    folder = box.commander.folder / "state/heartbeat"
    folder.mkdir(parents=True)
    create(folder / "outbox.db", Stream.HEARTBEAT)
    with closing(sqlite3.connect(folder / "outbox.db")) as db:
        db.execute("INSERT INTO runs VALUES (1, ?, 'boot', 6)", (RUN,))
        for seq in (2, 3):
            db.execute("INSERT INTO messages VALUES (1, ?, 'beat', 1, 0, '{}')", (seq,))
        db.commit()
    for path in (folder, *folder.iterdir()):  # another user's, and shut
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.chown(path, 771, 771)


async def test_a_wipe_is_commanded_carried_out_and_answered_once_and_the_node_comes_back(
    boxes: Callable[[int], Box], operator: EndpointClient
) -> None:
    site, box, other = "store-07001", boxes(7001), boxes(7002)
    await enrolled(box, operator, site, "nuc-1")
    await enrolled(other, operator, site, "nuc-2")
    leave_messages(box)
    keys = (box.commander.ident / "device-keys.json").read_bytes()
    for name in ("var", "conf"):
        box.disk.device[name].write_bytes(b"a secret " * 1000)
    wiped = await send(operator, box, site, ["var", "conf"], rebuild="yes")
    await until(lambda: box.commander.state == "wiping", lambda: box.commander.program.log_tail())
    reason = box.commander.record()["reason"]
    moved_on = ("reboot", "the machine starts anew")  # the step, and what it waits for then: it moves on at once
    told = "var, conf" in reason["detail"] or reason["detail"] in moved_on
    assert (reason["why"], told) == ("wiping", True), reason

    # one a site at a time: the other node's is refused, and nothing of it is armed
    refused = await answer(operator, other, await send(operator, other, site, ["var"], rebuild="yes"))
    assert refused["outcome"] == "refused" and "another node of this site is being wiped" in refused["detail"]
    assert other.record() is None
    await until(lambda: not (other.commander.ident / "wipe-duty.json").exists(), lambda: other.commander.record())

    await box.reboots()
    assert b"a secret" not in box.disk.raw("var") + box.disk.raw("conf")
    box.lose_var()
    box.commander.start()
    done = await answer(operator, box, wiped)
    assert (done["outcome"], done["detail"]) == ("done", "erased, and read back")
    await until(lambda: box.commander.state == "forming", lambda: box.commander.record())
    assert (box.commander.ident / "device-keys.json").read_bytes() == keys
    await until(lambda: (found := box.record()) is not None and found.reported, lambda: box.record())
    await until(lambda: not (box.commander.ident / "wipe-duty.json").exists(), lambda: box.commander.record())
    found = box.record()
    assert found is not None
    assert [one.ranges for one in found.unsent if one.run == RUN] == [[(2, 3)]]
    declared = [line for line in box.commander.program.log.read_text().splitlines() if "lost was declared" in line]
    assert len(declared) == 1

    # a start more changes nothing, and answers nothing again
    box.commander.program.stop()
    assert boot.run(box.settings) == 0
    box.commander.start()
    again = await answer(operator, other, await send(operator, other, site, ["var"]))
    assert again["outcome"] == "refused" and "quorum" in again["detail"]  # nuc-1 is down: it never said it is ready
    log = box.commander.program.log.read_text()
    assert log.count('"command answered"') == 1


async def test_a_retired_node_answers_first_and_then_erases_itself(
    boxes: Callable[[int], Box], operator: EndpointClient
) -> None:
    site, box = "store-07003", boxes(7003)
    await enrolled(box, operator, site, "nuc-1")
    targets = ["var", "conf", "keep", "ident"]
    for name in targets:
        box.disk.device[name].write_bytes(b"a secret " * 1000)
    sent = await send(operator, box, site, targets, Verb.RETIRE, rebuild="yes")
    done = await answer(operator, box, sent)
    assert done["outcome"] == "done" and "erases itself" in done["detail"]
    assert box.commander.state == "retired"
    await box.reboots()
    assert b"a secret" not in b"".join(box.disk.raw(name) for name in targets)
