"""Serves one request to a root half: one on standard input, one answer on standard output, then it ends.

systemd starts it for each connection to its socket (Accept=yes), which only Edge Commander's user may open; who asks
is checked again by SO_PEERCRED. Steps are said on standard error, which is the journal. What was begun goes on when the
asker goes away.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from agents.core.errors import ConfigError, Rejected, Retryable
from agents.core.settings import Settings
from agents.io.config import load
from edge_commander.halves.answer import MAX_ASK, Answer, Family, refused
from edge_commander.peer import peer_uid
from edge_commander.settings import CommanderSettings

READ_SECONDS = 30.0
USED = "used {:.2f} s of CPU, and {:.2f} s in programs"

A = TypeVar("A", bound=msgspec.Struct)
Configuration = Settings[CommanderSettings]
Serving = Callable[[bytes, Callable[[], Configuration]], Answer]


def serve(module: str, answer: Serving, argv: Sequence[str] | None = None) -> int:
    """Serves one connection, handed over as descriptor 0; 0 also where the operation failed: the answer says so.

    `answer` gets the request as it came, and how to read the configuration (raises Rejected).
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}")
    parser.add_argument("--config", type=Path, metavar="FILE")
    config = parser.parse_args(argv).config
    connection = socket.socket(fileno=os.dup(0))
    connection.settimeout(READ_SECONDS)
    try:
        said = _answer(connection, answer, config)
        say(_used())
        connection.settimeout(READ_SECONDS)
        connection.sendall(msgspec.json.encode(said))
    except OSError as error:
        say(f"the asker is gone: {error.strerror}")
    finally:
        connection.close()
    return 0


def asked(data: bytes, type_: type[A], problem: Callable[[A], str]) -> A | Answer:
    """The request, where it is one of the half's closed list by its `problem`; else the answer that says why not."""
    try:
        ask = msgspec.json.decode(data, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return refused("the request is malformed")
    text = problem(ask)
    return refused(text) if text else ask


def ended(operation: str, work: Coroutine[Any, Any, Any]) -> Answer:
    """Runs one checked request; the two families become the answer, anything else is a crash."""
    try:
        return Answer(family=Family.DONE, value=asyncio.run(work))
    except Retryable as error:
        say(f"{operation} may be tried again: {error}")
        return Answer(family=Family.RETRY, text=str(error))
    except Rejected as error:
        say(f"{operation} was refused: {error}")
        return refused(str(error))


def say(text: str) -> None:
    """One line for the journal."""
    print(text, file=sys.stderr, flush=True)


def _answer(connection: socket.socket, answer: Serving, config: Path | None) -> Answer:
    if (uid := peer_uid(connection)) not in (0, _owner()):
        return refused(f"uid {uid} may not ask")
    try:
        return answer(_read(connection), lambda: _settings(config))
    except Rejected as error:
        return refused(str(error))


def _settings(config: Path | None) -> Configuration:
    try:
        return load("edge_commander", CommanderSettings, config)
    except ConfigError as error:
        raise Rejected(f"configuration: {error.problems[0]}") from None


def _used() -> str:
    """What this request cost, for the journal: our own CPU time apart from that of the programs that were started."""
    own, programs = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return USED.format(own.ru_utime + own.ru_stime, programs.ru_utime + programs.ru_stime)


def _read(connection: socket.socket) -> bytes:
    data = bytearray()
    while len(data) <= MAX_ASK and (piece := connection.recv(65536)):
        data += piece
    return bytes(data[: MAX_ASK + 1])


def _owner() -> int:
    """Edge Commander's uid; root's own where the machine has no such user."""
    import pwd

    try:
        return pwd.getpwnam("galley-commander").pw_uid
    except KeyError:
        return 0
