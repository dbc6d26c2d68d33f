"""What this node took of its commands: consumed sequence, challenges, the one in hand. Pure.

Taken before it is done, and its outcome kept until the outbox has it: so a command is executed at most once and
answered once, wherever the power fails.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from agents.contracts.command import Command, SignedCommand

CHALLENGE_MS = 24 * 3600 * 1000
RENEW_MS = CHALLENGE_MS // 2
SKEW_MS = 10 * 60 * 1000
"""The best guess of the time may step back by a little when the endpoint is heard; further back it is not trusted."""
KEPT_REFUSALS = KEPT_TAKEN = 64


class IssuedChallenge(msgspec.Struct, frozen=True, kw_only=True):
    """A challenge of ours. `issued`: Unix ms by the endpoint's time. `published`: the outbox has it."""

    value: str
    issued: int
    published: bool = False


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """The command in hand. `outcome` is empty until it ended. `signed`: as it came, for those who judge it again (a
    wipe's early boot); None in files of older versions."""

    command: Command
    signed: SignedCommand | None = None
    outcome: str = ""
    detail: str = ""


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """The durable record (`commands.json` on ident). `consumed`: the highest sequence ever taken.

    `refused`: digests of commands that were refused unread, so that each is answered once. `taken`: ids of the last
    commands taken, to know a replay from another command under a sequence that was used already.
    """

    consumed: Annotated[int, msgspec.Meta(ge=0)] = 0
    challenges: list[IssuedChallenge] = []
    current: Taken | None = None
    refused: list[str] = []
    taken: list[str] = []


def live(ledger: Ledger, now_ms: int) -> frozenset[str]:
    """Challenges that a command may carry now."""
    return frozenset(one.value for one in ledger.challenges if _lives(one, now_ms))


def _lives(one: IssuedChallenge, now_ms: int) -> bool:
    return -SKEW_MS <= now_ms - one.issued < CHALLENGE_MS


def renewed(ledger: Ledger, now_ms: int, value: str) -> Ledger:
    """With the new challenge `value` where the newest is spent or half over; itself where it is not."""
    if any(-SKEW_MS <= now_ms - one.issued < RENEW_MS for one in ledger.challenges):
        return ledger
    kept = [one for one in ledger.challenges if _lives(one, now_ms)]
    return msgspec.structs.replace(ledger, challenges=[*kept, IssuedChallenge(value=value, issued=now_ms)])


def unpublished(ledger: Ledger) -> IssuedChallenge | None:
    """The newest challenge, where the outbox does not have it yet."""
    newest = ledger.challenges[-1] if ledger.challenges else None
    return newest if newest is not None and not newest.published else None


def published(ledger: Ledger, value: str) -> Ledger:
    """The outbox has the challenge `value`."""
    changed = [msgspec.structs.replace(one, published=True) if one.value == value else one for one in ledger.challenges]
    return msgspec.structs.replace(ledger, challenges=changed)


def republished(ledger: Ledger) -> Ledger:
    """The outbox went with a wipe: what it held of challenges is said again."""
    changed = [msgspec.structs.replace(one, published=False) for one in ledger.challenges]
    return msgspec.structs.replace(ledger, challenges=changed)


def take(ledger: Ledger, command: Command, signed: SignedCommand | None = None) -> Ledger:
    """The command is taken: its sequence and its challenge are spent before anything is done."""
    if ledger.current is not None:
        raise ValueError("a command is in hand already")
    if command.sequence <= ledger.consumed:
        raise ValueError("the sequence is consumed already")
    return msgspec.structs.replace(
        ledger,
        consumed=command.sequence,
        challenges=[one for one in ledger.challenges if one.value != command.challenge],
        current=Taken(command=command, signed=signed),
        taken=[*ledger.taken, command.id][-KEPT_TAKEN:],
    )


def ended(ledger: Ledger, outcome: str, detail: str) -> Ledger:
    """The command in hand came to this end."""
    if ledger.current is None:
        raise ValueError("no command is in hand")
    taken = msgspec.structs.replace(ledger.current, outcome=outcome, detail=detail)
    return msgspec.structs.replace(ledger, current=taken)


def answered(ledger: Ledger) -> Ledger:
    """The outbox has the answer."""
    return msgspec.structs.replace(ledger, current=None)


def refuse(ledger: Ledger, digest: str) -> Ledger:
    """A command that could not be taken was refused, and answered."""
    return msgspec.structs.replace(ledger, refused=[*ledger.refused, digest][-KEPT_REFUSALS:])


def skip(ledger: Ledger, sequence: int) -> Ledger:
    """A properly signed command was refused for good (expired, old challenge): its sequence is spent."""
    return msgspec.structs.replace(ledger, consumed=max(ledger.consumed, sequence))
