"""How far an update is, as it stands on `ident` (`update.json`). Pure."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

import msgspec

from agents.contracts.command import Command, SignedCommand
from agents.contracts.release import ImageVersion
from agents.core.settings import insecure

_VERSION = re.compile(r"\d+(\.\d+)*")
ADDRESS = r"^https://[^\s?#\\]{1,480}$"


class Stage(StrEnum):
    """From the command to the end."""

    FETCH = "fetch"
    INSTALLED = "installed"  # in the idle root, and its kernel where the boot loader finds it
    TRIAL = "trial"  # the boot into it was asked for
    DONE = "done"
    FAILED = "failed"


OPEN = frozenset({Stage.FETCH, Stage.INSTALLED, Stage.TRIAL})


class UpdateRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`id`: of the command. `sha256`: of `release.json`; `address`: of its folder. `boot`: the boot id in which the
    reboot was asked for. `member`: the node was a Ready member before the image could start. `problem`: why it failed.
    `told`: the end is in the outbox; `returned`: the turn is given back. `mismatches`: how often a file came with other
    bytes than the release says. `signed`: the command as it came, which the root half judges again; None in records of
    older versions."""

    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    version: ImageVersion
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    address: Annotated[str, msgspec.Meta(pattern=ADDRESS)]
    stage: Stage = Stage.FETCH
    boot: str = ""
    member: bool = False
    problem: str = ""
    told: bool = False
    returned: bool = False
    mismatches: Annotated[int, msgspec.Meta(ge=0)] = 0
    signed: SignedCommand | None = None


def wanted(command: Command) -> UpdateRecord:
    """The record of a command `upgrade`. Raises ValueError with what of its args is wrong."""
    args = {name: command.args.get(name, "") for name in ("version", "sha256", "address")}
    if missing := [name for name, value in args.items() if not value]:
        raise ValueError(f"upgrade needs args version, sha256 and address: {', '.join(missing)} missing")
    args["address"] = args["address"].rstrip("/")
    if args["address"].startswith("https://") and (why := insecure(args["address"])):
        raise ValueError(f"arg address {why}")
    try:
        return msgspec.convert({"id": command.id, **args}, UpdateRecord)
    except msgspec.ValidationError as error:
        name = str(error).rpartition("`$.")[2].rstrip("`")
        words = {
            "version": "numbers and dots, such as 1.4.0",
            "sha256": "the release document's SHA-256 in 64 hex digits",
            "address": "an https address without ? and #",
        }
        raise ValueError(f"arg {name} must be {words.get(name, 'what the docs say')}") from None


def takes(present: UpdateRecord | None, new: UpdateRecord) -> str:
    """Empty where `new` may take the place of what is under way; else why not."""
    if present is None or present.stage not in (Stage.INSTALLED, Stage.TRIAL):
        return ""
    return f"the update to {present.version} is {present.stage.value}: it ends first"


def older(version: str, than: str) -> bool:
    """Whether the boot loader sorts it behind. False where either is no image's version."""
    numbers = [[int(part) for part in one.split(".")] if _VERSION.fullmatch(one) else None for one in (version, than)]
    new, present = numbers
    return new is not None and present is not None and new < present


def failed(record: UpdateRecord, problem: str) -> UpdateRecord:
    """It ended so."""
    return msgspec.structs.replace(record, stage=Stage.FAILED, problem=problem[:1024])
