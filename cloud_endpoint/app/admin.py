"""Handlers of administration: sites, shipping list, devices, operators, audit, login links. All of it is audited."""

from __future__ import annotations

import base64
import hashlib
import secrets

from aiohttp import web

from agents.core.atlas import wrong_assigned
from agents.core.errors import Rejected
from agents.core.jose import SignatureRefused
from agents.core.trust_codes import TrustRefused
from cloud_endpoint.app.fleet import visible
from cloud_endpoint.app.io import answer, read_bytes, read_json, read_query
from cloud_endpoint.app.services import principal, services
from cloud_endpoint.app.trust import refusal
from cloud_endpoint.problem import Problem
from cloud_endpoint.records import DeviceRecord, Done, LoginLink, OperatorRecord, Shipped, ShippingRecord, SiteRecord
from cloud_endpoint.requests import Approve, EpochPut, OperatorAdd, PageQuery, Ship, SitePut
from cloud_endpoint.store import audit, clients, devices, enrol, grants, sites, trust
from cloud_endpoint.store.port import Tx

LOGIN_SECONDS = 60


async def site_put(request: web.Request) -> web.Response:
    """Makes or changes a site."""
    asked, site, who = await read_json(request, SitePut), request.match_info["site"], principal(request).subject
    # Not in the type: what an older version took must still be read, and shown, by all who have it.
    if asked.atlas is not None and (wrong := wrong_assigned(asked.atlas)):
        raise Problem(400, "; ".join(f"{why} - at `$.atlas.{field}`" for field, why in wrong.items()))

    def work(tx: Tx) -> SiteRecord:
        audit.add(tx, who, "site put", site)
        return sites.put(tx, site, asked.labels, asked.atlas, asked.election)

    return answer(await services(request).store.write(work))


async def site_epoch(request: web.Request) -> web.Response:
    """The next epoch of a site."""
    asked, site, who = await read_json(request, EpochPut), request.match_info["site"], principal(request).subject

    def work(tx: Tx) -> SiteRecord:
        grants.check_step(tx, site, asked.to)
        trust.check_authorisation(tx, site, asked.to, asked.authorisation, restore=asked.restore)
        return grants.raise_epoch(
            tx,
            site,
            asked.to,
            election=asked.election,
            authorisation=asked.authorisation,
            actor=who,
            restore=asked.restore,
        )

    try:
        return answer(await services(request).store.write(work))
    except TrustRefused as refused:
        raise await refusal(request, "site epoch", refused) from None


async def shipping(request: web.Request) -> web.Response:
    """The shipping list."""
    only = visible(request)
    return answer(await services(request).store.read(lambda tx: sites.shipping(tx, only=only)))


async def ship(request: web.Request) -> web.Response:
    """A device for the list; its code is made here unless given."""
    asked, who = await read_json(request, Ship), principal(request).subject
    if (asked.proof == "tpm") != bool(asked.ek_hash):
        raise Problem(400, "the proof `tpm` needs an ek_hash, and no other takes one - at `$.ek_hash`")
    code = asked.code or _new_code() if asked.proof == "code" else ""
    hashed = enrol.code_hash(asked.hardware_id, code) if code else None

    def work(tx: Tx) -> ShippingRecord:
        line = sites.ship(
            tx,
            hardware_id=asked.hardware_id.strip(),
            site=asked.site,
            name=asked.name,
            address=asked.address,
            proof=asked.proof,
            code_hash=hashed,
            ek_hash=asked.ek_hash,
        )
        audit.add(tx, who, "device ship", line.node, detail=f"{asked.site} {asked.name}, by {asked.proof}")
        if asked.entry is None:
            trust.note_missing(tx, line.site, line.node)
        elif trust.put_entry(tx, asked.entry, who).node != line.node:
            raise Rejected("the entry is for another device", path="$.entry")
        return line

    try:
        return answer(Shipped(line=await services(request).store.write(work), code=code), 201)
    except TrustRefused as refused:
        raise await refusal(request, "device ship", refused) from None


def _new_code() -> str:
    """80 random bits in base32, in groups of four."""
    text = base64.b32encode(secrets.token_bytes(10)).decode().lower()
    return "-".join(text[i : i + 4] for i in range(0, 16, 4))


async def devices_list(request: web.Request) -> web.Response:
    """Enrolled and revoked devices."""
    only = visible(request)
    return answer(await services(request).store.read(lambda tx: devices.every(tx, only=only)))


async def device_revoke(request: web.Request) -> web.Response:
    """Revokes a device."""
    node, who = request.match_info["node"], principal(request).subject

    def work(tx: Tx) -> bool:
        done = sites.revoke(tx, node)
        audit.add(tx, who, "device revoke", node, outcome="done" if done else "nothing to do")
        return done

    return answer(Done(changed=await services(request).store.write(work)))


async def enrolments(request: web.Request) -> web.Response:
    """Who asked and may not join yet."""
    return answer(await services(request).store.read(devices.waiting))


async def enrolment_approve(request: web.Request) -> web.Response:
    """A person's word for a device."""
    asked, number, who = await read_json(request, Approve), _number(request), principal(request).subject

    def work(tx: Tx) -> DeviceRecord:
        return enrol.approve(tx, number, actor=who, site=asked.site, name=asked.name)

    return answer(await services(request).store.write(work))


async def enrolment_refuse(request: web.Request) -> web.Response:
    """A person's word against it."""
    await read_bytes(request)
    number, who = _number(request), principal(request).subject
    await services(request).store.write(lambda tx: enrol.refuse(tx, number, actor=who))
    return answer(Done())


async def operators(request: web.Request) -> web.Response:
    """Operators."""
    return answer(await services(request).store.read(clients.operators))


async def operator_add(request: web.Request) -> web.Response:
    """Adds or changes an operator."""
    asked, who = await read_json(request, OperatorAdd), principal(request).subject

    def work(tx: Tx) -> OperatorRecord:
        scopes = [scope.value for scope in asked.scopes]
        made = clients.add_operator(tx, asked.name, asked.key, scopes, command_key=asked.command_key, site=asked.site)
        audit.add(tx, who, "operator add", f"op:{asked.name}", detail=f"{' '.join(made.scopes)}, key {made.kid}")
        return made

    try:
        return answer(await services(request).store.write(work), 201)
    except SignatureRefused as error:
        raise Problem(400, str(error)) from None


async def operator_revoke(request: web.Request) -> web.Response:
    """Ends an operator's rights; of one that there never was it is an error, lest a mistyped name seem revoked."""
    name, who = request.match_info["name"], principal(request).subject

    def work(tx: Tx) -> bool | None:
        known = clients.operator(tx, name) is not None
        done = clients.revoke_operator(tx, name)
        audit.add(tx, who, "operator revoke", f"op:{name}"[:256], outcome="done" if done else "nothing to do")
        return done if known else None

    changed = await services(request).store.write(work)
    if changed is None:
        raise Problem(404, "no operator of that name")
    return answer(Done(changed=changed))


async def audit_list(request: web.Request) -> web.Response:
    """The audit trail."""
    asked = read_query(request, PageQuery)
    found = await services(request).store.read(lambda tx: audit.recent(tx, before=asked.before, limit=asked.limit))
    return answer(found)


async def login_link(request: web.Request) -> web.Response:
    """A one-time link to the page, for the one who asks."""
    shared, who = services(request), principal(request)
    code = secrets.token_urlsafe(24)
    name = who.subject.removeprefix("op:")

    def work(tx: Tx) -> None:
        known = clients.operator(tx, name)
        if known is None or not set(known.scopes) <= who.scopes:
            # The session will hold all of the operator's scopes: a narrowed token must not grow by a link.
            raise Problem(403, "a login with all of the operator's scopes is needed")
        clients.add_login_code(tx, hash_secret(code), name, LOGIN_SECONDS)
        audit.add(tx, who.subject, "login-link", who.subject)

    await shared.store.write(work)
    return answer(LoginLink(url=f"{shared.urls[0].rstrip('/')}/login?code={code}", expires_in=LOGIN_SECONDS), 201)


def hash_secret(secret: str) -> str:
    """How random secrets (192 bits) are stored: login codes, session ids."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _number(request: web.Request) -> int:
    text = request.match_info["id"]
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise Rejected("the id must be a number", path="id")
    return int(text)
