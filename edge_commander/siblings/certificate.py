"""This node's leaf for the siblings' channel: a fresh key and its certificate, renewed. Touches one file in /run.

None is made while the clock is not to be trusted (k3s issue 6152): the caller sees `waiting: clock`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agents.contracts.identity import Member
from agents.contracts.ids import NodeId
from agents.core.errors import Retryable
from agents.core.jose import Signer
from agents.io.state import write_durably
from edge_commander.siblings.issuing import issue_leaf
from edge_commander.siblings.verify import BACKDATE_MS, LIFETIME_MS, judge
from edge_commander.trusted_time import Time, trusted_ms

LEAF_NAME = "sibling.pem"
RENEW_MS = LIFETIME_MS * 2 // 3
"""A leaf is made anew at two thirds of its life."""


@dataclass(frozen=True)
class Leaf:
    """Key and certificate, in one PEM file of mode 0600. `number`: 1 for this process' first. Times in Unix ms."""

    path: Path
    number: int
    made_ms: int

    def valid(self, now_ms: int) -> bool:
        """Whether it may be used at all."""
        return self.made_ms - BACKDATE_MS <= now_ms < self.made_ms + LIFETIME_MS

    def due(self, now_ms: int) -> bool:
        """Whether a new one should take its place: two thirds are over, or the clock was set back since."""
        return not self.made_ms - BACKDATE_MS <= now_ms < self.made_ms + RENEW_MS


class LeafKeeper:
    """Holds the leaf of this process. A new process makes a new key: nothing in the file is ever read back by us."""

    def __init__(self, node: NodeId, signer: Signer, run_dir: Path, time: Time) -> None:
        self.node = node
        self.path = run_dir / LEAF_NAME
        self._signer = signer
        self._time = time
        self._leaf: Leaf | None = None
        self._stale = False
        self._making = asyncio.Lock()

    def renew(self) -> None:
        """The next that is asked for is a new one, however young this one is."""
        self._stale = True

    async def leaf(self) -> Leaf:
        """The leaf to use now, made or renewed where that is due (a TPM takes a moment: in a thread).

        Raises ClockNotTrusted or Retryable where there is none and none can be made. One that is due and cannot be
        renewed is used until it ends.
        """
        async with self._making:
            now = self._time.now_ms()
            if self._leaf is None or self._stale or self._leaf.due(now) or not self.path.exists():
                try:
                    self._leaf, self._stale = await self._renewed(), False
                except Retryable:
                    if self._leaf is None or not self._leaf.valid(now) or not self.path.exists():
                        raise
            return self._leaf

    async def _renewed(self) -> Leaf:
        now_ms = trusted_ms(self._time)
        number = self._leaf.number + 1 if self._leaf is not None else 1
        try:
            await asyncio.to_thread(self._make, now_ms)
        except OSError as error:
            raise Retryable(f"{self.path}: cannot be written: {error.strerror}") from None
        return Leaf(self.path, number, now_ms)

    def _make(self, now_ms: int) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = issue_leaf(self.node, self._signer, key.public_key(), now_ms)
        own = Member(node=self.node, name="", signing=self._signer.public)
        judge(certificate.public_bytes(serialization.Encoding.DER), [own], now_ms)  # as a sibling will
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ) + certificate.public_bytes(serialization.Encoding.PEM)
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_durably(self.path, pem)
