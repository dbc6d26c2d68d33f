"""Handlers for devices: enrolment, site document, Git credential, echo, ingest."""

from __future__ import annotations

import msgspec
from aiohttp import web

from agents.contracts.codec import ContractError
from agents.contracts.election import InitAsk
from agents.contracts.identity import EnrolRequest, EnrolStatus, SiteDocument
from agents.contracts.ingest import IngestRequest
from agents.core.assertion import check_enrolment_proof
from agents.core.errors import Rejected
from agents.core.jose import SignatureRefused, canonical
from cloud_endpoint.app.gate import limited
from cloud_endpoint.app.io import answer, read_bytes, read_json, read_query
from cloud_endpoint.app.services import principal, services
from cloud_endpoint.problem import Problem
from cloud_endpoint.records import Alive
from cloud_endpoint.requests import SiteDocumentQuery
from cloud_endpoint.route import STREAM_SCOPES
from cloud_endpoint.rules.endorsement import read_shown
from cloud_endpoint.store import grants, sites, trust
from cloud_endpoint.store import ingest as ingest_store
from cloud_endpoint.store.enrol import enrol as enrol_device
from cloud_endpoint.store.port import Tx

_STATUS = {
    EnrolStatus.ENROLLED: 200,
    EnrolStatus.PENDING: 202,
    EnrolStatus.QUARANTINED: 403,
    EnrolStatus.REFUSED: 403,
    EnrolStatus.CHALLENGE: 202,
}


async def healthz(request: web.Request) -> web.Response:
    """It answers."""
    return answer(Alive())


async def enrol(request: web.Request) -> web.Response:
    """Checks form and possession of the signing key; the store's table decides."""
    asked = await read_json(request, EnrolRequest)
    shared = services(request)
    if not asked.hardware_id.strip():
        raise Problem(400, "Expected text that is not blank - at `$.hardware_id`")
    keys = {}
    for name in ("signing", "sealing"):
        try:
            keys[name] = canonical(getattr(asked, name))
            if keys[name]["kty"] != "EC":
                raise SignatureRefused("the key must be on P-256")
        except SignatureRefused as error:
            raise Problem(400, f"{error} - at `$.{name}`") from None
    asked = msgspec.structs.replace(asked, **keys)
    try:
        check_enrolment_proof(
            asked.proof,
            asked.hardware_id,
            signing=asked.signing,
            sealing=asked.sealing,
            issuer=shared.issuer.issuer,
            now=shared.clock.wall_ms() // 1000,
        )
    except SignatureRefused as error:
        raise Problem(401, f"{error} - at `$.proof`", error="invalid_proof") from None
    try:
        shown = read_shown(asked)
    except Rejected as error:
        raise Problem(400, f"{error.cause} - at `{error.path}`") from None
    source = request.remote or ""
    said = await shared.store.write(lambda tx: enrol_device(tx, asked, source, shown))
    if said.status is not EnrolStatus.ENROLLED:
        shared.log.info("a device asked to join", node=said.node, status=said.status.value, reason=said.reason)
    return answer(said, _STATUS[said.status])


async def site(request: web.Request) -> web.Response:
    """The site document of the token's node."""
    shared, who = services(request), principal(request)
    after = read_query(request, SiteDocumentQuery).operators_after

    def work(tx: Tx) -> SiteDocument | None:
        found = sites.document(tx, who.subject, shared.urls, [shared.command_key.public])
        return None if found is None else trust.signed_site(tx, found, shared.roster_key, operators_after=after)

    document = await shared.store.read(work)
    if document is None or document.site != who.site:
        raise Problem(403, "the device is not enrolled at the site that the token names")
    return answer(document)


async def git_credential(request: web.Request) -> web.Response:
    """The credential of the site's Atlas."""
    shared, who = services(request), principal(request)
    found = shared.git.of(who.site or "")
    if found is None:
        raise Problem(404, "no Git credential is configured for this site")
    return answer(found)


async def init_grant(request: web.Request) -> web.Response:
    """Who may run the site's `cluster-init`; answers after it is on disk."""
    asked = await read_json(request, InitAsk)
    shared, who = services(request), principal(request)
    return answer(await shared.store.write(lambda tx: grants.ask(tx, who.subject, who.site or "", asked)))


async def echo(request: web.Request) -> web.Response:
    """The same bytes again."""
    return web.Response(
        body=await read_bytes(request),
        content_type="application/octet-stream",
        headers={"Cache-Control": "no-store"},
    )


async def ingest(request: web.Request) -> web.Response:
    """Settles a batch; answers after it is on disk."""
    shared, who = services(request), principal(request)
    batch = await read_json(request, IngestRequest)
    needed = STREAM_SCOPES[batch.stream]
    if needed not in who.scopes:
        raise Problem(403, f"the stream {batch.stream.value} needs the scope {needed.value}")
    try:
        messages = ingest_store.read(batch)
    except ContractError as error:
        raise Problem(400, str(error)) from None
    cost = min(max(1, len(messages) + len(batch.dropped)), shared.by_messages.burst)
    limited(shared, shared.by_messages.take(who.subject, shared.clock.monotonic(), cost))
    site_id = who.site or ""
    said = await shared.store.write(lambda tx: ingest_store.ingest(tx, who.subject, site_id, batch, messages))
    counter = shared.metrics.counter
    counter("galley_endpoint_messages_total", "Messages received.", stream=batch.stream.value).inc(len(messages))
    if said.rejected:
        counter("galley_endpoint_rejected_total", "Messages that could not be read.").inc(len(said.rejected))
        shared.log.warning("messages could not be read", node=who.subject, count=len(said.rejected))
    return answer(said)
