"""The root half of a distribution: one request on standard input, one answer on standard output, then it ends.

systemd starts it for each connection to `/run/galley/distribution.sock` (galley-distribution.socket, Accept=yes), which
only Edge Commander's user may open; who asks is checked again by SO_PEERCRED. Steps are said on standard error, which
is the journal. What was begun goes on when the asker goes away.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from agents.core.errors import ConfigError, Rejected, Retryable
from agents.io.clock import SystemClock
from agents.io.config import load
from edge_commander.distribution.choice import connect, make
from edge_commander.distribution.port import Distribution, Operation
from edge_commander.distribution.settle import settle
from edge_commander.distribution.wire import ARGUMENTS, IMAGES, MAX_ASK, PULL, SETTLE, Answer, Ask, Family, problem
from edge_commander.images.settings import PrepullSettings
from edge_commander.peer import peer_uid
from edge_commander.settings import CommanderSettings, DistributionSettings

READ_SECONDS = 30.0
USED = "used {:.2f} s of CPU, and {:.2f} s in programs"


def main(argv: Sequence[str] | None = None) -> int:
    """Serves one connection, handed over as descriptor 0; 0 also where the operation failed: the answer says so."""
    parser = argparse.ArgumentParser(prog="python -m edge_commander.distribution.runner")
    parser.add_argument("--config", type=Path, metavar="FILE")
    config = parser.parse_args(argv).config
    connection = socket.socket(fileno=os.dup(0))
    connection.settimeout(READ_SECONDS)
    try:
        answer = _answer(connection, config)
        _say(_used())
        connection.settimeout(READ_SECONDS)
        connection.sendall(msgspec.json.encode(answer))
    except OSError as error:
        print(f"the asker is gone: {error.strerror}", file=sys.stderr)
    finally:
        connection.close()
    return 0


def _answer(connection: socket.socket, config: Path | None) -> Answer:
    if (uid := peer_uid(connection)) not in (0, _owner()):
        return Answer(family=Family.REFUSED, text=f"uid {uid} may not ask")
    try:
        ask = msgspec.json.decode(_read(connection), type=Ask)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Answer(family=Family.REFUSED, text="the request is malformed")
    if text := problem(ask):
        return Answer(family=Family.REFUSED, text=text)
    try:
        own = load("edge_commander", CommanderSettings, config).own
    except ConfigError as error:
        return Answer(family=Family.REFUSED, text=f"configuration: {error.problems[0]}")
    settings = own.distribution
    if text := elsewhere(ask, settings):
        return Answer(family=Family.REFUSED, text=text)
    print(f"asked: {ask!r}", file=sys.stderr, flush=True)
    return carry_out(ask, settings, lambda: make(settings, Path(own.keys_dir), SystemClock(), say=_say), own.prepull)


def elsewhere(ask: Ask, settings: DistributionSettings) -> str:
    """Why a snapshot may not be restored over this socket; empty when it may. Root reads only what root saved: any
    other path could be a folder of the asker's, a device, or changed between its check and its use."""
    if ask.operation != Operation.RESTORE:
        return ""
    if settings.kind == "k3s":
        from edge_commander.distribution.k3s.config import snapshots

        folder = snapshots(settings.k3s)
    else:
        folder = settings.kubeadm.snapshots_dir
    named = Path(ask.argument)
    if named.parent == Path(folder) and named.name not in ("", "..") and "\0" not in ask.argument:
        return ""
    return f"restore takes a snapshot in {folder}"


def carry_out(
    ask: Ask,
    settings: DistributionSettings,
    distribution: Callable[[], Distribution],
    prepull: PrepullSettings | None = None,
) -> Answer:
    """Runs one checked request; the two families become the answer, anything else is a crash."""
    try:
        return Answer(family=Family.DONE, value=asyncio.run(_run(ask, settings, distribution, prepull)))
    except Retryable as error:
        _say(f"{ask.operation} may be tried again: {error}")
        return Answer(family=Family.RETRY, text=str(error))
    except Rejected as error:
        _say(f"{ask.operation} was refused: {error}")
        return Answer(family=Family.REFUSED, text=str(error))


async def _run(
    ask: Ask,
    settings: DistributionSettings,
    distribution: Callable[[], Distribution],
    prepull: PrepullSettings | None,
) -> Any:
    if ask.operation in (IMAGES, PULL):
        return await _of_containerd(ask, settings, prepull or PrepullSettings())
    if ask.operation == SETTLE:
        assert ask.plan is not None
        return await settle(ask.plan, settings, connect)
    return await perform(distribution(), ask)


async def _of_containerd(ask: Ask, settings: DistributionSettings, prepull: PrepullSettings) -> Any:
    from edge_commander.images.puller import Puller
    from edge_commander.images.runtime import runtime_of

    lock = Path(settings.access_dir) / "pull.lock"
    puller = Puller(runtime_of(settings, prepull), prepull, SystemClock(), lock=lock, say=_say)
    return await (puller.images() if ask.operation == IMAGES else puller.pull(ask.argument))


async def perform(one: Distribution, ask: Ask) -> Any:
    """One checked operation of the port, whose connections are closed afterwards; its answer."""
    arguments: list[object] = [ask.argument] if ask.operation in ARGUMENTS else []
    if ask.plan is not None:
        arguments.append(ask.plan)
    try:
        return await getattr(one, ask.operation)(*arguments)
    finally:
        await one.aclose()


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


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
