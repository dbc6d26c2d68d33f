"""The daemon `edge-commander`: builds every adapter. `python -m edge_commander` is the whole command (entry.py)."""

from __future__ import annotations

import random
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from agents.contracts.identity import Role
from agents.contracts.ids import Stream
from agents.contracts.ingest import IngestAnswer
from agents.core.errors import ConfigError, Retryable
from agents.core.settings import EndpointSettings, Settings
from agents.io import http_now  # noqa: F401 - before what imports aiohttp in the ordinary way
from agents.io.machine import hand_over
from agents.io.outbox import SqliteOutbox
from agents.io.sender import LogOnlySender, Sender
from agents.io.tls import client_context
from agents.io.uplink import HttpUplink
from agents.supervise.daemon import Context, DaemonSpec, Loop, Pulse, run_daemon
from edge_commander.access import Route
from edge_commander.cloud import Cloud
from edge_commander.commanding import Commanding
from edge_commander.distribution.apart import Apart
from edge_commander.distribution.choice import make_unprivileged as make_distribution
from edge_commander.distribution.k3s.settings import problems
from edge_commander.election.box import BallotBox
from edge_commander.entry import COMMANDS, main
from edge_commander.keystore import ChosenKeyStore
from edge_commander.loop import NodeLoop, Parts
from edge_commander.machine.client import SOCKET, Machine
from edge_commander.machine.wire import WIPE_STATE
from edge_commander.memory import Memory, prepare
from edge_commander.operators import basis_of
from edge_commander.report import Reporter
from edge_commander.routes import routes
from edge_commander.settings import CommanderSettings
from edge_commander.socket_server import Answer, Door, IdentitySocket
from edge_commander.surroundings import Surroundings
from edge_commander.times import Times, image_build
from edge_commander.tokens import Tokens
from edge_commander.trust.keeper import NodeTrust
from edge_commander.wiping.entry import Wiping

if TYPE_CHECKING:
    from edge_commander.formation.keeping import SnapshotKeeping  # only a node that forms its cluster pays for it

CHECK_SECONDS = 5.0
MAX_CODE = 256


def daemon(arguments: Sequence[str]) -> int:
    """Runs the daemon; returns the exit status."""
    spec = DaemonSpec("edge-commander", "edge_commander", CommanderSettings, build, check, COMMANDS)
    return run_daemon(spec, arguments)


def check(settings: Settings[CommanderSettings]) -> list[str]:
    """Files that came with the configuration must be there. Code, kubeconfig and build time may come late."""
    found = problems(settings.own.distribution.k3s, "edge_commander.distribution.k3s")
    try:
        basis_of(settings.own)
    except ConfigError as error:
        found += error.problems
    return found


async def build(context: Context[CommanderSettings]) -> Sequence[Loop]:
    """Opens what is local: files, socket, outbox. Nothing here needs the network."""
    own, endpoint = context.settings.own, context.settings.endpoint
    basis = basis_of(own)
    keys_dir = Path(own.keys_dir)
    context.stack.callback(prepare(keys_dir).release)
    memory = Memory(keys_dir)
    facts = context.machine.facts()
    times = Times(context.clock, memory, image_build(own.image_build, own.image_build_file))
    outbox = await SqliteOutbox.open(
        context.state_dir / "outbox.db", Stream.COMMANDER, facts.boot_id, context.clock, max_rows=10_000
    )
    context.stack.push_async_callback(outbox.aclose)
    reporter = Reporter(memory, outbox, times)
    trust = NodeTrust(keys_dir, basis, outbox, context.log)
    keys = ChosenKeyStore(own, context.log.warning)
    # Before keys are made: a box that has keys and no memory of elections lost it (docs/decisions/0021).
    box = BallotBox(keys_dir, had_keys=keys.ever(), floor=memory.site.epoch if memory.site is not None else 0)
    distribution = make_distribution(own.distribution, context.run_dir)
    context.stack.push_async_callback(distribution.aclose)
    cloud = tokens = None
    if endpoint is not None:
        cloud = Cloud(endpoint, client_context(endpoint), context.clock, times.heard)
        context.stack.push_async_callback(cloud.aclose)
        tokens = Tokens(cloud, endpoint.issuer, context.clock, times.now_s, random.uniform)
        context.stack.push_async_callback(tokens.aclose)
    formation, more = None, list[Loop]()
    keeping: SnapshotKeeping | None = None
    if isinstance(distribution, Apart):
        from edge_commander.formation.build import build as build_formation
        from edge_commander.images.loop import build as build_images

        formation, keeping, more = build_formation(
            context, distribution=distribution, box=box, keys=keys, times=times, cloud=cloud, tokens=tokens
        )
        more = [*more, *build_images(context, distribution, memory)]
    if own.overlay.look_seconds > 0 and Path(own.overlay.run).is_dir():  # early boot has mounted one
        from edge_commander.overlay.loop import build as build_overlay

        more = [*more, *build_overlay(context, outbox)]
    surroundings = Surroundings(
        memory,
        times,
        disks=_disks(context),
        members=lambda: node.members,
        wipe=partial(Machine(context.run_dir / SOCKET).ask, WIPE_STATE),
    )
    told = routes(
        memory,
        tokens,
        outbox,
        trust.view,
        generations=lambda: formation.generations if formation else (0, 0),
        snapshot=lambda: keeping.view() if keeping is not None else None,
        around=surroundings.around,
    )
    wiping = Wiping(context, memory, distribution, cloud, tokens, times, outbox)
    context.stack.push_async_callback(wiping.aclose)
    node = NodeLoop(
        Parts(
            settings=own,
            facts=facts,
            issuer=endpoint.issuer if endpoint else "",
            clock=context.clock,
            memory=memory,
            keys=keys,
            cloud=cloud,
            tokens=tokens,
            times=times,
            distribution=distribution,
            reporter=reporter,
            log=context.log,
            code=lambda: read_code(own.enrol_code_file),
            uniform=random.uniform,
            say=lambda ok, text: context.health.set("node", ok, text),
            trust=trust,
            formation=formation,
            wiping=wiping,
        )
    )
    socket = await _serve(context, told)
    loops = [*more, Loop("node", node.run), Loop("identity socket", lambda pulse: _keep_socket(socket, context, pulse))]
    if endpoint is None or cloud is None or tokens is None:
        return [*loops, Loop("outbox", LogOnlySender(outbox, log=context.log).run)]
    built = Commanding(context, memory, outbox, reporter, times, trust, distribution, formation, wiping, surroundings)
    commands, more = built.loops(cloud, tokens)

    def answered(answer: IngestAnswer) -> None:
        times.heard(answer.server_time)
        commands.hint(answer.commands_after)

    send = _sending(context, endpoint, outbox, tokens, heard=answered)
    return [*loops, Loop("outbox", send), Loop("commands", commands.run), *more]


def _sending(
    context: Context[CommanderSettings],
    endpoint: EndpointSettings,
    outbox: SqliteOutbox,
    tokens: Tokens,
    *,
    heard: Callable[[IngestAnswer], None],
) -> Callable[[Pulse], Awaitable[None]]:
    """What sends the outbox, and hears in the answers that there are commands."""
    uplink = HttpUplink(endpoint, tokens.bearer, refused=tokens.bearer_refused, clock=context.clock)
    context.stack.push_async_callback(uplink.aclose)

    sender = Sender(
        outbox,
        uplink,
        log=context.log,
        say=lambda ok, text: context.health.set("uplink", ok, text),
        answered=heard,
    )

    async def send(pulse: Pulse) -> None:
        while not pulse.stopping and not tokens.known.is_set():  # so that no backoff has grown when it is enrolled
            await pulse.wait(tokens.known, 30.0)
        await sender.run(pulse)

    return send


async def _serve(context: Context[CommanderSettings], told: Mapping[Route, Answer]) -> IdentitySocket:
    """The identity socket, and beside it what pods must know of this machine."""
    socket = IdentitySocket(_doors(context), _roles(context.settings.own), told, context.log)
    context.stack.push_async_callback(socket.aclose)
    await socket.start()
    try:
        hand_over(context.machine.facts(), context.run_dir)
    except Retryable as error:
        context.log.warning("the facts were not handed over to pods", cause=str(error))
    return socket


def _disks(context: Context[CommanderSettings]) -> Mapping[str, str]:
    """What the status shows of disks. Where one lies on another's file system, both say the same."""
    own = context.settings.own
    kept = (
        own.distribution.k3s.snapshot_dir if own.distribution.kind == "k3s" else own.distribution.kubeadm.snapshots_dir
    )
    return {"ident": own.keys_dir, "var": str(context.state_dir), "keep": kept}


def _roles(own: CommanderSettings) -> Mapping[int, Role]:
    return {int(uid): role for uid, role in own.roles.items()}


def _doors(context: Context[CommanderSettings]) -> list[Door]:
    own = context.settings.own
    main_path = Path(own.socket) if own.socket else context.run_dir / "identity.sock"
    doors = [Door(main_path, 0o666)]
    for role in own.socket_roles:
        doors.append(Door(main_path.with_name(f"{main_path.stem}-{role.value}{main_path.suffix}"), 0o600, role))
    return doors


async def _keep_socket(socket: IdentitySocket, context: Context[CommanderSettings], pulse: Pulse) -> None:
    while not pulse.stopping:
        try:
            await socket.check()
            context.health.set("identity socket", True, "serves")
        except Retryable as error:
            context.health.set("identity socket", False, str(error))
        await pulse.sleep(CHECK_SECONDS)


def read_code(file: str | None) -> str:
    """The one-time code, read late: it may be put there after the start. Empty where there is none."""
    if file is None:
        return ""
    try:
        with Path(file).open("rb") as stream:
            return stream.read(MAX_CODE).decode(errors="replace").strip()
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
