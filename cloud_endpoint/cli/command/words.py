"""Commands in words, for who signs them. What comes from a file or the endpoint cannot steer the terminal. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from agents.contracts.command import Command, SignedCommand
from agents.contracts.wipe import Target
from agents.core.command_rules import ERASES, rebuilds, wide
from agents.core.jose import check_header

LOST = {
    Target.VAR: "var (cluster state, images, volumes)",
    Target.CONF: "conf (what was changed in /etc)",
    Target.KEEP: "keep (logs, snapshots)",
    Target.IDENT: "ident (the node's identity)",
}
"""What is gone with each, in words."""
REBUILDS = (
    "this belongs to a rebuild of the whole site: no quorum is spared, the cluster ends, and with it what only it held"
)


def plain(text: str) -> str:
    """Without what a terminal would obey."""
    return "".join(one if one.isprintable() else "?" for one in text)


def line(command: Command) -> str:
    """One command in one line, without its end."""
    args = ", ".join(f"{name}={value}" for name, value in sorted(command.args.items()))
    targets = ", ".join(command.targets)
    words = f"{command.verb.value}{f' of {targets}' if targets else ''} at {command.node} of site {command.site}"
    return plain(f"{words}{f' with {args}' if args else ''} (sequence {command.sequence}, id {command.id})")


def told(commands: Sequence[Command], now: int, threshold: int | None = None) -> list[str]:
    """All that a signer must know of them: each command, what it destroys, how many must sign, until when it holds.
    `threshold`: that of the operators' document, None where it is not known."""
    lines = [f"  {line(one)}" for one in commands]
    erased = {name for one in commands if one.verb in ERASES for name in one.targets}
    if erased:
        lines.append(f"erased for good: {plain(', '.join(LOST.get(name, name) for name in Target if name in erased))}")
    lines += [REBUILDS] if any(map(rebuilds, commands)) else []
    many = "" if threshold is None else f", {threshold}"
    lines += [
        f"{why}: as many operators must sign as their document's threshold says{many}"
        for why in sorted({wide(one) for one in commands} - {""})
    ]
    for end in sorted({one.expires for one in commands}):
        lines.append(f"good until {moment(end)}" + (" (EXPIRED)" if end <= now else f", for {_left(end - now)}"))
    return lines


def moment(seconds: int) -> str:
    """Unix s as UTC; a number that is no time as that number."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"second {seconds}"


def row(command: Command, signed: SignedCommand, **more: Any) -> dict[str, Any]:
    """One command as the tables and `--output json` show it. `signed_by`: thumbprints."""
    return {
        "id": command.id,
        "verb": command.verb.value,
        "site": command.site,
        "node": command.node,
        "sequence": command.sequence,
        "targets": list(command.targets),
        "args": dict(command.args),
        "expires_ms": command.expires * 1000,
        "signed_by": signers(signed),
        **more,
    }


def signers(signed: SignedCommand) -> list[str]:
    """Thumbprints of the keys that are said to have signed, each once; raises SignatureRefused."""
    return list(dict.fromkeys(str(check_header(one.protected).get("kid", "")) for one in signed.signatures))


def _left(seconds: int) -> str:
    minutes = max(1, round(seconds / 60))
    hours, minutes = divmod(minutes, 60)
    return " ".join(part for part in (f"{hours} h" if hours else "", f"{minutes} min" if minutes else "") if part)
