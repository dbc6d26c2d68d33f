"""A machine with a journal, targets of a few sectors and a signed wipe, of which tests change one thing at a time."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from agents.contracts.command import Command, SignedCommand, Verb
from agents.core.command_verify import sign_command
from agents.core.jose import SoftwareKey, thumbprint
from edge_commander.wipe import record as records
from edge_commander.wipe.engine import Engine
from edge_commander.wipe.journal import SIZE, Journal
from edge_commander.wipe.record import Target, WipeRecord
from edge_commander.wipe.warrant import Warrant
from tests.fakes.block_device import SECTOR, Mains, PowerCut, ShimDevice, ShimDisks, file_system

SITE, NODE = "store-00001", "n-" + "a" * 16
OPERATOR, STRANGER = SoftwareKey.generate("Ed25519"), SoftwareKey.generate("Ed25519")
WARRANT = Warrant(SITE, NODE, {thumbprint(OPERATOR.public): OPERATOR.public}, 1)
SIZES = {Target.VAR: 96 * SECTOR, Target.CONF: 32 * SECTOR, Target.KEEP: 16 * SECTOR, Target.IDENT: 16 * SECTOR}
EVERY = 16 * SECTOR
SECRET = b"line of a secret "


def command(**changed: Any) -> Command:
    fields: dict[str, Any] = {
        "id": "a" * 32, "verb": Verb.WIPE, "site": SITE, "node": NODE, "sequence": 7, "challenge": "c", "issued": 1000,
        "expires": 2000, "targets": ["conf", "var"],
    }  # fmt: skip
    return Command(**{**fields, **changed})


def signed(key: SoftwareKey = OPERATOR, **changed: Any) -> SignedCommand:
    return sign_command(command(**changed), [key])


def armed(key: SoftwareKey = OPERATOR, **changed: Any) -> WipeRecord:
    one = command(**changed)
    return records.armed(sign_command(one, [key]), one, [Target(name) for name in one.targets])


class Machine:
    """Its disks outlive any number of starts. `seed`: of what a power cut loses; `blank`: see Engine."""

    def __init__(self, seed: int = 0, *, blank: bool = False) -> None:
        self.rng = random.Random(seed)
        self.mains = Mains()
        self.journal = ShimDevice(bytearray(SIZE), self.mains, self.rng)
        self.devices = {
            one: ShimDevice(bytearray((SECRET * (size // len(SECRET) + 1))[:size]), self.mains, self.rng)
            for one, size in SIZES.items()
        }
        self.said: list[str] = []
        self.warrant: Callable[[], Warrant] = lambda: WARRANT
        self.blank = blank

    def arm(self, record: WipeRecord | None = None) -> None:
        Journal(self.journal).write_both(record or armed())

    def start(self, cut_at: int | None = None) -> WipeRecord | None:
        """One boot; raises PowerCut where it did not get to an end."""
        self.mains.done, self.mains.at = 0, cut_at
        try:
            journal, disks = Journal(self.journal), ShimDisks(self.devices)
            engine = Engine(journal, disks, self.warrant, self.said.append, lambda: None, EVERY, self.blank)
            return engine.run()
        except PowerCut:
            for one in (self.journal, *self.devices.values()):
                one.power_cut()
            raise
        finally:
            self.mains.at = None

    def content(self) -> dict[Target, bytes]:
        return {one: bytes(device.medium) for one, device in self.devices.items()}


def after(targets: Sequence[Target], one: Command | None = None) -> dict[Target, bytes]:
    """What the devices hold after an undisturbed wipe of these targets."""
    found = Machine().content()
    for target in targets:
        size = SIZES[target]
        blank = bytearray(size)
        for start in range(0, size, 16 * SECTOR):
            blank[start : start + SECTOR] = file_system(target, one or command(), start)
        found[target] = bytes(blank)
    return found
