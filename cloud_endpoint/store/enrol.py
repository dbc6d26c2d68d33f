"""Enrolment as one unit of work: what is known is read, the pure table decides, its effects are stored."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from agents.contracts.identity import EnrolAnswer, EnrolRequest, EnrolStatus
from agents.contracts.ids import node_id
from agents.core.errors import Rejected
from agents.core.jose import encode64, thumbprint
from cloud_endpoint.records import DeviceRecord
from cloud_endpoint.rules.credential import make_credential
from cloud_endpoint.rules.endorsement import Shown
from cloud_endpoint.rules.enrolment import Decision, DeviceStatus, Known, Proof, decide
from cloud_endpoint.store import audit, challenges, clients, devices, sites, trust
from cloud_endpoint.store.port import Tx

MAX_AUDITED = 10
"""Different keys of one id that ask and are each written to the audit."""


def code_hash(hardware_id: str, code: str) -> str:
    """How a one-time code is stored. The hardware id salts it; codes the endpoint makes have 80 random bits."""
    text = b"galley-code-v1\0" + hardware_id.strip().encode() + b"\0" + code.strip().encode()
    return hashlib.sha256(text).hexdigest()


def enrol(tx: Tx, request: EnrolRequest, source: str, shown: Shown | None = None) -> EnrolAnswer:
    """Judges a request whose proof of possession was verified. `shown`: what the device shows of its TPM."""
    node = node_id(request.hardware_id)
    known = _known(tx, node, request, shown)
    decision = decide(known)
    device = devices.get(tx, node)
    challenge = ""
    if decision.enrol:
        by_tpm = known.proof is Proof.TPM and shown is not None
        device = _register(tx, node, request, shown.ek.hash if by_tpm and shown is not None else "")
        tx.execute("UPDATE shipping SET code_used_ms = ? WHERE node = ?", (tx.now_ms, node))
        audit.add(tx, node, "enrol", device.site, detail=f"key {device.signing_kid}", source=source)
    elif decision.status is EnrolStatus.CHALLENGE:
        assert shown is not None
        challenge = _challenge(tx, node, request, shown)
    elif decision.status is not EnrolStatus.ENROLLED:
        _note(tx, node, request, decision, source)
    return EnrolAnswer(
        status=decision.status,
        node=node,
        site=device.site if device is not None and decision.status is EnrolStatus.ENROLLED else None,
        reason=decision.reason,
        server_time=tx.now_ms,
        challenge=challenge,
    )


def _challenge(tx: Tx, node: str, request: EnrolRequest, shown: Shown) -> str:
    """A credential with a new secret, which is remembered by its hash."""
    secret = secrets.token_bytes(32)
    challenges.add(tx, node, _kids(request), shown.ek.hash, secret)
    return encode64(make_credential(shown.ek, shown.name, secret, secrets.token_bytes))


def _kids(request: EnrolRequest) -> tuple[str, str]:
    return thumbprint(request.signing), thumbprint(request.sealing)


def approve(tx: Tx, enrolment: int, *, actor: str, site: str | None, name: str | None) -> DeviceRecord:
    """A person's word: these keys are the device's from now on, and any older key of it is revoked.
    `site`, `name`: where the shipping list does not say. Raises Rejected, also where it says otherwise."""
    found = devices.asked(tx, enrolment)
    if found is None:
        raise Rejected(f"no device waits under {enrolment}", path="$.id")
    asked, request = found
    _place(tx, asked.node, asked.hardware_id, site, name)
    if devices.get(tx, asked.node) is not None:
        clients.revoke(tx, asked.node)
    device = _register(tx, asked.node, request)
    audit.add(tx, actor, "device approve", asked.node, detail=f"site {device.site}, key {asked.signing_kid}")
    return device


def _place(tx: Tx, node: str, hardware_id: str, site: str | None, name: str | None) -> None:
    """Puts the device on the shipping list where it is not there; raises Rejected where the list says otherwise."""
    line = sites.shipped(tx, node)
    if line is None:
        if not site or not name:
            raise Rejected("the device is not on the shipping list: give site and name", path="$.site")
        sites.ship(tx, hardware_id=hardware_id, site=site, name=name, address="", proof="approval", code_hash=None)
        return
    for field, said, listed in (("site", site, line.site), ("name", name, line.name)):
        if said and said != listed:
            text = f"the shipping list says {listed!r}: leave {field} away, or ship the device anew"
            raise Rejected(text, path=f"$.{field}")


def refuse(tx: Tx, enrolment: int, *, actor: str) -> None:
    """A person says no. Raises Rejected when nobody waits under that number."""
    found = devices.asked(tx, enrolment)
    if found is None:
        raise Rejected(f"no device waits under {enrolment}", path="$.id")
    devices.bar(tx, enrolment)
    audit.add(tx, actor, "device refuse", found[0].node, detail=f"key {found[0].signing_kid}")


def _known(tx: Tx, node: str, request: EnrolRequest, shown: Shown | None) -> Known:
    kids = _kids(request)
    device = devices.get(tx, node)
    rows = tx.execute(
        "SELECT proof, code_hash, code_used_ms, code_tries, ek_hash FROM shipping WHERE node = ?", (node,)
    )
    matches: bool | None = None
    if request.code and rows and rows[0]["code_hash"]:
        matches = hmac.compare_digest(code_hash(request.hardware_id, request.code), rows[0]["code_hash"])
    ek_matches = answer_right = None
    if shown is not None and rows:
        ek_matches = bool(rows[0]["ek_hash"] == shown.ek.hash)
        if ek_matches and shown.answer:
            answer_right = challenges.spend(tx, node, kids, shown.ek.hash, shown.answer)
    return Known(
        device=None if device is None else DeviceStatus(device.status),
        same_keys=device is not None and (device.signing_kid, device.sealing_kid) == kids,
        proof=Proof(rows[0]["proof"]) if rows else None,
        code_used=bool(rows and rows[0]["code_used_ms"] is not None),
        code_tries=rows[0]["code_tries"] if rows else 0,
        code_matches=matches,
        ek_matches=ek_matches,
        answer_right=answer_right,
        refused=devices.refused_before(tx, node, *kids),
    )


def _register(tx: Tx, node: str, request: EnrolRequest, ek_hash: str = "") -> DeviceRecord:
    line = sites.shipped(tx, node)
    assert line is not None
    device = DeviceRecord(
        node=node,
        hardware_id=request.hardware_id.strip(),
        site=line.site,
        name=line.name,
        address=line.address,
        status=DeviceStatus.ENROLLED.value,
        signing=request.signing,
        signing_kid=thumbprint(request.signing),
        sealing=request.sealing,
        sealing_kid=thumbprint(request.sealing),
        hostname=request.hostname,
        hardware=request.hardware,
        enrolled_ms=tx.now_ms,
        ek_hash=ek_hash,
    )
    devices.register(tx, device)
    trust.note_keys(tx, device)
    sites.changed(tx, line.site)
    return device


def _note(tx: Tx, node: str, request: EnrolRequest, decision: Decision, source: str) -> None:
    if decision.count_try:
        tx.execute("UPDATE shipping SET code_tries = code_tries + 1 WHERE node = ?", (node,))
    if devices.refused_before(tx, node, *_kids(request)):
        return
    before = devices.said_before(tx, node, *_kids(request))
    devices.remember(tx, node, request, status=decision.status, reason=decision.reason, source=source)
    line = sites.shipped(tx, node)
    if decision.alert and before != decision.reason:
        device = devices.get(tx, node)
        audit.raise_alert(
            tx,
            site=device.site if device else line.site if line else "",
            node=node,
            code=decision.alert,
            severity="critical",
            text=f"another device asks to be {node}: {decision.reason}",
        )
    # Anyone may ask with ever new ids and keys, so what strangers do fills no audit: the list of those who wait has it.
    if devices.keys_waiting(tx, node) > MAX_AUDITED or before is not None or not (decision.alert or line):
        return
    audit.add(tx, node, "enrol", node, outcome=decision.status.value, detail=decision.reason, source=source)
