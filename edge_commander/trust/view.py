"""How trust is shown. Pure."""

from __future__ import annotations

import msgspec


class TrustView(msgspec.Struct, frozen=True, kw_only=True):
    """Trust as `status` shows it. `operators`: generation of the document that counts, -1 for none. `roster`,
    `epoch`: of the roster that stands, 0 for none; `digest`: equal on nodes that were told the same. `refused`: what
    the endpoint offered last and was not taken. `signing`, `sealing`: thumbprints of this node's keys."""

    policy: str
    operators: int = -1
    roster: int = 0
    epoch: int = 0
    digest: str = ""
    refused: str = ""
    signing: str = ""
    sealing: str = ""

    def lines(self) -> list[str]:
        """The same for people."""
        document = {-1: "none", 0: "the plain list"}.get(self.operators, f"document {self.operators}")
        roster = f"{self.roster} of epoch {self.epoch} ({self.digest[:12]})" if self.roster else "none signed yet"
        lines = [f"trust    {self.policy} (operators: {document})", f"roster   {roster}"]
        if self.signing:
            lines.append(f"keys     signing {self.signing}, sealing {self.sealing}")
        return [*lines, f"refused  {self.refused}"] if self.refused else lines
