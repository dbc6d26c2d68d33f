"""The endpoint's loops: serve over TLS, watch revocations and certificates, forget what is old."""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from aiohttp import web
from structlog.typing import FilteringBoundLogger

from agents.supervise.context import Loop
from agents.supervise.health import Health
from agents.supervise.pulse import Pulse
from cloud_endpoint.app.services import Services
from cloud_endpoint.settings import Retention, Tls
from cloud_endpoint.store import clients
from cloud_endpoint.store.port import StoreFault
from cloud_endpoint.store.retention import SLICE, Keep, prune

REVOCATIONS_SECONDS = 2.0
"""Other replicas' revocations are seen within this; design allows 5."""
PRUNE_SECONDS = 60.0
PORT_SECONDS = 2.0
SAY_EVERY = 300
CERT_SECONDS = 30.0
HOUR = 3_600_000


def keep_of(retention: Retention) -> Keep:
    """Settings as ms."""
    return Keep(
        beats=int(retention.beats_hours * HOUR),
        history=int(retention.history_days * 24 * HOUR),
        audit=int(retention.audit_days * 24 * HOUR),
        diagnostics=int(retention.diagnostics_days * 24 * HOUR),
    )


def worth_saying(tries: int) -> bool:
    """Which failed tries for the port are logged: the first, then at doubling intervals, at last every ten minutes."""
    return tries & (tries - 1) == 0 if tries < SAY_EVERY else tries % SAY_EVERY == 0


class Server:
    """The TLS listener."""

    def __init__(self, app: web.Application, tls: Tls, context: ssl.SSLContext, services: Services) -> None:
        self._tls = tls
        self._context = context
        self._services = services
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, keepalive_timeout=75.0)

    async def run(self, pulse: Pulse, health: Health, log: FilteringBoundLogger) -> None:
        """Takes the port (a taken one is tried again) and serves until the daemon ends."""
        await self._runner.setup()
        tries = 1
        while not await self._listen(health, log, tries):
            tries += 1
            await pulse.sleep(PORT_SECONDS)
            if pulse.stopping:
                return
        while not pulse.stopping:
            await pulse.sleep(PORT_SECONDS)
        self._services.stopping.set()
        self._services.topics.wake_all()

    async def _listen(self, health: Health, log: FilteringBoundLogger, tries: int) -> bool:
        where = f"{self._tls.bind}:{self._tls.port}"
        site = web.TCPSite(self._runner, self._tls.bind, self._tls.port, ssl_context=self._context, backlog=512)
        try:
            await site.start()
        except OSError as error:
            why = f"{where}: {os.strerror(error.errno) if error.errno else error}"
            if worth_saying(tries):
                log.warning("cannot listen", cause=why, tries=tries)
            health.set("tls", False, f"cannot listen, serves nobody: {why}")
            return False
        health.set("tls", True, f"serves {where}")
        log.info("serves", address=where)
        return True

    async def aclose(self) -> None:
        """Ends all connections."""
        self._services.stopping.set()
        self._services.topics.wake_all()
        await self._runner.cleanup()


def _files(tls: Tls) -> tuple[float, ...]:
    return tuple(Path(file).stat().st_mtime for file in (tls.cert_file, tls.key_file))


async def watch_certificates(pulse: Pulse, tls: Tls, context: ssl.SSLContext, log: FilteringBoundLogger) -> None:
    """New files serve new connections; unusable ones are reported and the old ones stay."""
    seen = _files(tls)
    while not pulse.stopping:
        await pulse.sleep(CERT_SECONDS)
        try:
            now = _files(tls)
            if now != seen:
                seen = now
                probe = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                probe.load_cert_chain(tls.cert_file, tls.key_file)  # both must fit before the live one is touched
                context.load_cert_chain(tls.cert_file, tls.key_file)
                log.info("new certificate")
        except (OSError, ssl.SSLError, ValueError) as error:
            log.error("the new certificate cannot be used, the old one stays", cause=str(error))


async def watch_revocations(pulse: Pulse, services: Services, health: Health) -> None:
    """Holds the revocation list in memory as the store has it: at once on this process's own, else within 2 s."""
    event, end = services.topics.subscribe("revocations")
    try:
        while not pulse.stopping:
            event.clear()
            await refresh_revocations(services, health)
            await pulse.wait(event, REVOCATIONS_SECONDS)
    finally:
        end()


async def refresh_revocations(services: Services, health: Health) -> None:
    """Reads the list once."""
    for name, value in services.store.stats().items():
        text = "Units of work and transactions of the store since the start."
        services.metrics.gauge(f"galley_endpoint_store_{name}", text).set(value)
    try:
        services.issuer.revoked = await services.store.read(clients.revocations)
        health.set("store", True, "answers")
    except StoreFault as error:
        health.set("store", False, str(error))


async def forget(pulse: Pulse, services: Services, keep: Keep) -> None:
    """Prunes slice by slice, so that ingest never waits long."""
    while not pulse.stopping:
        await pulse.sleep(PRUNE_SECONDS, grace=120)
        gone = SLICE
        while gone >= SLICE and not pulse.stopping:
            pulse.expect(120)
            try:
                gone = await services.store.write(lambda tx: prune(tx, keep))
            except StoreFault as error:
                services.log.warning("could not prune", cause=str(error))
                break


def loops(server: Server, services: Services, context: ssl.SSLContext, health: Health) -> list[Loop]:
    """All of them."""
    tls, log = services.settings.tls, services.log
    table: Mapping[str, Callable[[Pulse], Awaitable[None]]] = {
        "serve": lambda pulse: server.run(pulse, health, log),
        "revocations": lambda pulse: watch_revocations(pulse, services, health),
        "certificates": lambda pulse: watch_certificates(pulse, tls, context, log),
        "forget": lambda pulse: forget(pulse, services, keep_of(services.settings.retention)),
    }
    return [Loop(name, run) for name, run in table.items()]
