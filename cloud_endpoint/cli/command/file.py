"""The file with signed commands that operators hand to one another. Touches that file (mode 0600).

What counts in it are the payloads: words about them are made anew wherever the file is read, and never stored.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from agents.contracts.codec import ContractError, Struct, decode, encode
from agents.contracts.command import Command, SignedCommand
from agents.core.command_rules import ill_formed
from agents.core.command_verify import CommandRefused, read_command
from agents.core.errors import Rejected
from agents.io.state import create_durably, write_durably
from cloud_endpoint.cli.command.words import line, signers
from cloud_endpoint.cli.problems import BadInput

MAX_FILE = 1024 * 1024
ABOUT = "Commands to nodes, signed by operators. `galley command show FILE` says in words what the payloads say."


class CommandFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`kind`, `about`: so that a person who finds the file knows what it is."""

    v: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    kind: Literal["galley-signed-commands"]
    about: Annotated[str, msgspec.Meta(max_length=1024)] = ABOUT
    commands: Annotated[list[SignedCommand], msgspec.Meta(min_length=1, max_length=64)]


Pair = tuple[Command, SignedCommand]


def read(path: Path) -> list[Pair]:
    """The commands of a file; raises Rejected naming it, BadInput with all that is wrong with them."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE + 1)
    except OSError as error:
        raise Rejected(f"cannot be read: {error.strerror}", file=str(path)) from None
    try:
        if len(raw) > MAX_FILE:
            raise ContractError("it is too long")
        found = decode(raw, CommandFile)
    except ContractError as error:
        raise Rejected(f"is no file of `galley command sign`: {error}", file=str(path)) from None
    pairs: list[Pair] = []
    problems = []
    for number, signed in enumerate(found.commands, 1):
        try:
            command = read_command(signed)
            signers(signed)
        except Rejected as error:
            code = f"{error.code}: " if isinstance(error, CommandRefused) else ""
            problems.append(f"{path}: command {number}: {code}{error.cause}")
            continue
        pairs.append((command, signed))
        if wrong := ill_formed(command):
            problems.append(f"{path}: command {number}: {wrong[1]}")
    if len({command.node for command, _ in pairs}) != len(pairs):
        problems.append(f"{path}: holds two commands to one node")
    if problems:
        raise BadInput(problems)
    return pairs


def expired(path: Path, pairs: list[Pair], now: int) -> list[str]:
    """A line for each command that counts no longer."""
    return [f"{path}: has expired, sign anew: {line(command)}" for command, _ in pairs if command.expires <= now]


def check_new(path: Path) -> str:
    """Why no new file can be made there; empty where one can."""
    if os.path.lexists(path):
        return f"{path}: exists already"
    return "" if path.parent.is_dir() else f"{path}: its folder does not exist"


def write(path: Path, commands: list[SignedCommand], *, replace: bool = False) -> None:
    """The file, whole or not at all, for its owner alone; raises Rejected, also where it exists and is not to be
    replaced."""
    content = (
        msgspec.json.format(encode(CommandFile(kind="galley-signed-commands", commands=commands)), indent=1) + b"\n"
    )
    try:
        (write_durably if replace else create_durably)(path, content)
    except FileExistsError:
        raise Rejected("exists already", file=str(path)) from None
    except OSError as error:
        raise Rejected(f"cannot be written: {error.strerror}", file=str(path)) from None
