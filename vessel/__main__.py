"""The command `vessel`: the daemon, or bootstrap, status, lint, render. The only place that builds adapters."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from agents.contracts.identity import AtlasSource
from agents.contracts.ids import Stream, node_id
from agents.contracts.messages import Alert, Deployment, Severity
from agents.core.errors import Rejected, Retryable
from agents.core.ports import Outbox
from agents.core.settings import Settings
from agents.io.identity import SocketIdentity
from agents.io.kube import Kube
from agents.io.kube_connection import POD
from agents.io.outbox import SqliteOutbox
from agents.io.state import StateFile
from agents.io.uplink import HttpUplink, LogOnlySender, Sender
from agents.supervise.daemon import Context, DaemonSpec, Loop, Pulse, run_daemon
from vessel.atlases import POLL_FILE, Atlases, Polled, Poller
from vessel.bootstrap_apply import ensure
from vessel.deploy import Deployer
from vessel.elector import Elector
from vessel.engine import REFUSED_FILE, Engine, Known, Parts, Refusal
from vessel.git.remote import Remote
from vessel.git.repository import read_credential
from vessel.inventory_store import InventoryStore
from vessel.keeper import Keeper, Send
from vessel.mirror import Mirror
from vessel.model import Atlas, Commit, describe
from vessel.prepare import Preparer
from vessel.prepull import Prepull
from vessel.reading.atlas import read_atlas
from vessel.reading.kustomize import KubectlKustomizer
from vessel.settings import VesselSettings
from vessel.writer import Writer

USER_AGENT = "galley-vessel"
SYSTEM = "galley-system"


COMMANDS = {
    "bootstrap": "make the namespaces, accounts and rights that Vessel needs",
    "status": "say where the site stands",
    "lint": "say everything that is wrong with an Atlas",
    "render": "print the objects that Vessel would apply",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand, else the daemon; the exit status. Ends quietly when nobody reads what is printed."""
    try:
        status = _main(argv)
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes again at its end: what is left goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return status


def _main(argv: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments[0] if arguments else ""
    if command == "bootstrap":
        from vessel.cli_bootstrap import main as bootstrap

        return bootstrap(arguments[1:])
    if command == "status":
        from vessel.cli_status import main as status

        return status(arguments[1:])
    if command == "lint":
        from vessel.cli_lint import main as lint

        return lint(arguments[1:])
    if command == "render":
        from vessel.cli_render import main as render

        return render(arguments[1:])
    return run_daemon(DaemonSpec("vessel", "vessel", VesselSettings, build, check, COMMANDS), arguments)


def check(settings: Settings[VesselSettings]) -> list[str]:
    """What the types cannot say: where the Atlas comes from, and whether Git can work with it."""
    own = settings.own
    problems = []
    if own.atlas is None and settings.endpoint is None:
        problems.append("vessel.atlas: is required where there is no section `endpoint`")
    if own.atlas is not None:
        if own.atlas.credential == "endpoint" and settings.endpoint is None:
            problems.append("vessel.atlas.credential: `endpoint` needs the section `endpoint`")
        try:
            Remote(own.atlas.url, own.atlas.branch)
        except Rejected as error:
            problems.append(f"vessel.atlas: {error}")
        kind, _, rest = own.atlas.credential.partition(":")
        if kind == "file":
            try:
                read_credential(Path(rest))
            except Rejected as error:
                problems.append(f"vessel.atlas.credential: {error}")
    if own.git_ca_file:
        try:
            ssl.create_default_context(cafile=own.git_ca_file)
        except OSError as error:
            problems.append(f"vessel.git_ca_file: {own.git_ca_file}: {error.strerror or 'no certificate in it'}")
    return problems


async def build(context: Context[VesselSettings]) -> Sequence[Loop]:
    """Local work alone: opens the outbox, makes the parts, returns the loops."""
    own = context.settings.own
    form = "pod" if os.environ.get(POD) else "unit"
    if form != own.mode:
        return _idle(context, form)
    me, boot_id = _who(context)
    outbox = await SqliteOutbox.open(context.state_dir / "outbox.db", Stream.VESSEL, boot_id, context.clock)
    context.stack.push_async_callback(outbox.aclose)
    identity = None
    if context.settings.endpoint is not None:
        socket_path = own.identity_socket or context.run_dir / "identity.sock"
        identity = SocketIdentity(socket_path, clock=context.clock)
        context.stack.push_async_callback(identity.aclose)
    # A node's cluster may be formed later than its Vessel is started: the kubeconfig is waited for, not demanded.
    kube = Kube.deferred(kubeconfig=Path(own.kubeconfig) if own.kubeconfig else None, user_agent=USER_AGENT)
    context.stack.push_async_callback(kube.aclose)
    wake = asyncio.Event()
    elector = Elector(
        kube,
        context.clock,
        me=own.identity or me,
        namespace=SYSTEM,
        say=lambda ok, text: context.health.set("lease", ok, text),
        changed=wake.set,
    )
    context.stack.push_async_callback(elector.release)
    atlases = Atlases(
        context.state_dir,
        fixed=own.atlas.source() if own.atlas else None,
        identity=identity,
        remembered=StateFile(context.state_dir / "source.json", AtlasSource),
        ca_file=own.git_ca_file,
        endpoint=context.settings.endpoint,
    )
    engine, measure = await _engine(context, kube, elector, atlases, outbox, wake)
    polled = StateFile(context.state_dir / POLL_FILE, Polled)
    poller = Poller(
        atlases=atlases,
        elector=elector,
        engine=engine,
        clock=context.clock,
        log=context.log,
        say=context.health.set,
        send=_send(context, outbox),
        alarm=lambda text: _alarm(outbox, text),
        poll_seconds=own.poll_seconds,
        sync_file=context.run_dir / "sync.json",
        state=polled,
    )
    for path in polled.quarantined:
        await _alarm(outbox, f"a corrupt state file was set aside: {path}")
    return [
        Loop("lease", lambda pulse: _lead(context, kube, elector, measure, pulse), patient=True),
        Loop("atlas", poller.run, patient=True),
        Loop("engine", engine.run),
        _sender(context, outbox, identity),
    ]


def _who(context: Context[VesselSettings]) -> tuple[str, str]:
    """This node's name as a writer, and its boot id. Alone, on a machine that tells no serial, a name of its own."""
    try:
        facts = context.machine.facts()
    except Rejected:
        if context.settings.endpoint is not None:
            raise
        return _own_name(context.state_dir, context.log), Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return node_id(facts.hardware_id), facts.boot_id


def _own_name(state_dir: Path, log: FilteringBoundLogger) -> str:
    """`<host name>-<8 hex>`, kept: two machines may have one host name, and both would hold the Lease."""
    kept = StateFile(state_dir / "identity.json", str)
    name = kept.load()
    if name is None:
        name = f"{socket.gethostname()[:200]}-{secrets.token_hex(4)}"
        kept.save(name)
    for path in kept.quarantined:
        log.error("a corrupt state file was set aside: this Vessel has another name now", path=str(path), name=name)
    return name


async def _engine(  # noqa: PLR0917
    context: Context[VesselSettings],
    kube: Kube,
    elector: Elector,
    atlases: Atlases,
    outbox: SqliteOutbox,
    wake: asyncio.Event,
) -> tuple[Engine, Callable[[], None]]:
    own = context.settings.own
    send = _send(context, outbox)
    mirror = Mirror(kube, context.clock, random.uniform, wake)
    context.stack.push_async_callback(mirror.aclose)
    store = InventoryStore(kube, SYSTEM, elector.fence)
    writer = Writer(kube, elector.fence, own.concurrency)
    preparer = Preparer(
        kube, mirror, writer, own.prune.policy(), refuse_undryable=own.webhook_without_dry_run == "refuse"
    )
    keeper = Keeper(mirror=mirror, store=store, writer=writer, clock=context.clock, send=send)
    deployer = Deployer(
        preparer=preparer,
        mirror=mirror,
        store=store,
        writer=writer,
        keeper=keeper,
        clock=context.clock,
        send=send,
        wake=wake,
    )
    kustomizer = KubectlKustomizer(own.kubectl)

    async def read(root: Path, commit: Commit) -> Atlas:
        source = atlases.source
        return await read_atlas(root, commit, kustomizer, path=source.path if source else ".")

    state = StateFile(context.state_dir / "known.json", Known)
    refusal = StateFile(context.state_dir / REFUSED_FILE, Refusal)
    engine = Engine(
        Parts(
            clock=context.clock,
            log=context.log,
            elector=elector,
            mirror=mirror,
            store=store,
            preparer=preparer,
            deployer=deployer,
            keeper=keeper,
            prepull=Prepull(
                kube,
                own.prepull,
                context.clock,
                fence=elector.fence,
                send=send,
                say=lambda text: context.health.set("atlas", True, text),
                log=context.log,
            ),
            repository=atlases,
            read=read,
            send=send,
            say=context.health.set,
            state=state,
            refusal=refusal,
            wake=wake,
        )
    )
    for path in (*state.quarantined, *atlases.quarantined):
        await _alarm(outbox, f"a corrupt state file was set aside: {path}")
    return engine, lambda: _measure(context, engine, mirror, keeper)


def _measure(context: Context[VesselSettings], engine: Engine, mirror: Mirror, keeper: Keeper) -> None:
    context.metrics.gauge("vessel_open_watches", "watches open now").set(mirror.open_watches)
    context.metrics.gauge("vessel_passes", "passes since the start").set(engine.passes)
    context.metrics.gauge("vessel_repairs", "objects repaired since the start").set(keeper.repairs)


async def _lead(
    context: Context[VesselSettings], kube: Kube, elector: Elector, measure: Callable[[], None], pulse: Pulse
) -> None:
    """Prepares the cluster where that is missing and allowed, then holds the lease or waits for it."""
    ready = not context.settings.own.bootstrap
    told = ""
    while not ready and not pulse.stopping:
        try:
            if await ensure(kube, context.clock):
                context.log.info("prepared the cluster: namespaces, accounts, rights")
            ready = True
        except (Retryable, Rejected) as error:
            context.health.set("kubernetes", False, str(error))
            if str(error) != told:
                context.log.warning("the cluster is not ready for Vessel", cause=str(error))
                told = str(error)
            await pulse.sleep(3.0)

    def expect(seconds: float) -> None:
        pulse.expect(seconds)
        measure()

    await elector.run(expect)


def _send(context: Context[VesselSettings], outbox: SqliteOutbox) -> Send:
    async def send(report: Deployment) -> None:
        await outbox.put(report, durable=True)
        context.log.info(
            "report",
            app=report.app,
            phase=report.phase.value,
            revision=report.revision,
            problems=[describe(problem) for problem in report.problems[:5]],
        )

    return send


async def _alarm(outbox: Outbox, text: str) -> None:
    await outbox.put(Alert(code="state-quarantined", severity=Severity.WARNING, text=text), durable=True)


def _sender(context: Context[VesselSettings], outbox: SqliteOutbox, identity: SocketIdentity | None) -> Loop:
    def say(ok: bool, text: str) -> None:
        context.health.set("uplink", ok, text)

    endpoint = context.settings.endpoint
    if endpoint is None or identity is None:
        return Loop("uplink", LogOnlySender(outbox, log=context.log, say=say).run)
    uplink = HttpUplink(endpoint, identity.token, refused=identity.refused, clock=context.clock)
    context.stack.push_async_callback(uplink.aclose)
    return Loop("uplink", Sender(outbox, uplink, log=context.log, say=say).run, patient=True)


def _idle(context: Context[VesselSettings], form: str) -> Sequence[Loop]:
    """The form that the node's config does not name: a unit ends, a pod stays, and both say why."""
    text = f"this node runs Vessel as a {context.settings.own.mode} (vessel.mode), not as a {form}"
    context.log.info("idle", cause=text)
    context.health.set("vessel", True, text)
    if form == "unit":
        context.stopping.set()

    async def stay(pulse: Pulse) -> None:
        while not pulse.stopping:
            await pulse.sleep(60)

    return [Loop("idle", stay)]


if __name__ == "__main__":
    sys.exit(main())
