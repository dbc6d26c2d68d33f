"""Bad input to `POST /v1/token` and with access tokens, against the real process: each refused, the cause named."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from typing import Any

import pytest

from agents.core.jose import SoftwareKey, decode64, encode64, sign_compact, thumbprint
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient


def claims(client: EndpointClient, **changes: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {
        "iss": client.name,
        "sub": client.name,
        "aud": client.endpoint.issuer,
        "iat": now,
        "exp": now + 60,
        "jti": secrets.token_urlsafe(16),
    }
    return {key: value for key, value in {**good, **changes}.items() if value is not None}


def signed(client: EndpointClient, header: dict[str, Any] | None = None, **changes: Any) -> str:
    """An assertion with any header and claims, really signed by the client's key."""
    head = {"alg": "ES256", "kid": thumbprint(client.key.public), "typ": "JWT", **(header or {})}
    text = encode64(json.dumps(head).encode()) + "." + encode64(json.dumps(claims(client, **changes)).encode())
    return text + "." + encode64(client.key.sign(text.encode()))


def unsigned(client: EndpointClient) -> str:
    head = encode64(json.dumps({"alg": "none"}).encode())
    return head + "." + encode64(json.dumps(claims(client)).encode()) + "."


def hs256(client: EndpointClient) -> str:
    """The classic confusion: the public key as an HMAC secret."""
    head = encode64(json.dumps({"alg": "HS256", "kid": thumbprint(client.key.public)}).encode())
    text = head + "." + encode64(json.dumps(claims(client)).encode())
    secret = json.dumps(client.key.public, sort_keys=True, separators=(",", ":")).encode()
    return text + "." + encode64(hmac.new(secret, text.encode(), hashlib.sha256).digest())


def foreign(client: EndpointClient) -> str:
    return sign_compact(json.dumps(claims(client)).encode(), SoftwareKey.generate(), "JWT")


def tampered(client: EndpointClient) -> str:
    head, body, signature = signed(client).split(".")
    return f"{head}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"


ISSUER = "https://cloud.galley.test"
BAD_ASSERTIONS = {
    "no JWS": (lambda c: "hello", "not a compact JWS"),
    "empty": (lambda c: "", "not a compact JWS"),
    "huge": (lambda c: "a" * 9000 + ".b.c", "not a compact JWS"),
    "alg none": (unsigned, "alg must be ES256"),
    "HS256 with the public key": (hs256, "alg must be ES256"),
    "another key": (foreign, "kid is not that of the registered key"),
    "another key without kid": (
        lambda c: _without_kid(c),
        "signature is wrong",
    ),
    "tampered": (tampered, "signature is wrong"),
    "unknown kid": (lambda c: signed(c, {"kid": "x" * 43}), "kid is not that"),
    "jku": (lambda c: signed(c, {"jku": "https://evil.test/keys"}), "'jku' is refused"),
    "x5u": (lambda c: signed(c, {"x5u": "https://evil.test/cert"}), "'x5u' is refused"),
    "jwk": (lambda c: signed(c, {"jwk": c.key.public}), "'jwk' is refused"),
    "crit": (lambda c: signed(c, {"crit": ["b64"], "b64": False}), "is refused"),
    "foreign typ": (lambda c: signed(c, {"typ": "at+jwt"}), "typ is not"),
    "wrong audience": (lambda c: signed(c, aud="https://other.test"), "aud is not this issuer"),
    "two audiences": (lambda c: signed(c, aud=[ISSUER, "https://other.test"]), "only string"),
    "audience in a list": (lambda c: signed(c, aud=[ISSUER]), "only string"),
    "no audience": (lambda c: signed(c, aud=None), "aud"),
    "expired": (lambda c: signed(c, iat=int(time.time()) - 120, exp=int(time.time()) - 60), "expired"),
    "from the future": (lambda c: signed(c, iat=int(time.time()) + 90, exp=int(time.time()) + 120), "iat"),
    "not yet valid": (lambda c: signed(c, nbf=int(time.time()) + 90), "nbf"),
    "lives too long": (lambda c: signed(c, exp=int(time.time()) + 3600), "lifetime"),
    "ends before it begins": (lambda c: signed(c, iat=int(time.time()) + 10, exp=int(time.time()) + 5), "lifetime"),
    "no jti": (lambda c: signed(c, jti=None), "jti"),
    "short jti": (lambda c: signed(c, jti="abc"), "jti"),
    "sub is another": (lambda c: signed(c, sub="n-aaaaaaaaaaaaaaaa"), "iss and sub"),
    "unknown client": (lambda c: signed(c, iss="n-aaaaaaaaaaaaaaaa", sub="n-aaaaaaaaaaaaaaaa"), "no registered client"),
    "an operator's name": (lambda c: signed(c, iss="op:demo", sub="op:demo"), "kid is not that"),
    "claims are no object": (lambda c: sign_compact(b"[1]", c.key, "JWT"), "claims"),
    "exp is text": (lambda c: signed(c, exp="soon"), "exp"),
}


def _without_kid(client: EndpointClient) -> str:
    text = encode64(b'{"alg":"ES256"}') + "." + encode64(json.dumps(claims(client)).encode())
    return text + "." + encode64(SoftwareKey.generate().sign(text.encode()))


@pytest.mark.parametrize("name", BAD_ASSERTIONS)
async def test_bad_assertion_is_refused_and_named(device: EndpointClient, name: str) -> None:
    make, cause = BAD_ASSERTIONS[name]
    status, body = await device.token("heartbeat:write", client_assertion=make(device))
    assert (status, body["error"]) == (401, "invalid_client"), body
    assert cause in body["detail"]
    assert "access_token" not in body


async def test_good_assertions_work_with_and_without_kid(device: EndpointClient) -> None:
    for assertion in (signed(device), signed(device, {"typ": "client-authentication+jwt"})):
        status, body = await device.token("heartbeat:write", client_assertion=assertion)
        assert (status, body["scope"], body["expires_in"]) == (200, "heartbeat:write", 600)


async def test_a_jti_serves_once_and_stays_used_after_a_restart(device: EndpointClient) -> None:
    assertion = device.assertion()
    assert (await device.token("heartbeat:write", client_assertion=assertion))[0] == 200
    status, body = await device.token("heartbeat:write", client_assertion=assertion)
    assert (status, body["detail"]) == (401, "client_assertion: jti was used before")
    device.endpoint.program.kill()
    device.endpoint.start()
    status, body = await device.token("heartbeat:write", client_assertion=assertion)
    assert (status, body["detail"]) == (401, "client_assertion: jti was used before")


@pytest.mark.parametrize(
    "scope",
    [
        "admin",
        "fleet:read",
        "fleet:deploy",
        "remedy:execute",
        "heartbeat:write admin",
        "heartbeat:write deploy:report",
        "",
        "root",
    ],
)
async def test_a_device_gets_one_roles_scope_and_never_a_persons(device: EndpointClient, scope: str) -> None:
    status, body = await device.token(scope)
    assert (status, body["error"]) == (400, "invalid_scope")


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"client_assertion_type": "x"}, "invalid_request"),
    ],
)
async def test_other_grants_are_refused(device: EndpointClient, form: dict[str, str], error: str) -> None:
    status, body = await device.token("heartbeat:write", **form)
    assert (status, body["error"]) == (400, error)


async def test_a_field_given_twice_or_a_wrong_type_of_body_is_refused(device: EndpointClient) -> None:
    form = "grant_type=client_credentials&grant_type=client_credentials"
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await device.request("POST", "/v1/token", data=form, headers=kind))[0] == 400
    assert (await device.request("POST", "/v1/token", json={}))[0] == 415
    assert (await device.request("POST", "/v1/token", data="x" * 20_000, headers=kind))[0] == 413


async def test_an_access_token_is_refused_when_tampered_foreign_or_expired(device: EndpointClient) -> None:
    token = await device.login("heartbeat:write")
    head, body, signature = token.split(".")
    forged = json.loads(decode64(body))
    forged["scope"] = "admin"
    other = sign_compact(json.dumps(forged).encode(), device.key, "at+jwt")
    for bad, cause in [
        (f"{head}.{encode64(json.dumps(forged).encode())}.{signature}", "signature is wrong"),
        (other, "kid is not"),
        (device.assertion(), "typ is not"),
        ("x", "not a compact JWS"),
        ("é" * 10, "not a compact JWS"),
    ]:
        status, answer = await device.request("GET", "/v1/site", token=bad)
        assert status == 401
        assert cause in answer["detail"]
    status, answer = await device.request("GET", "/v1/site", headers={"Authorization": f"Basic {token}"})
    assert (status, answer["detail"]) == (401, "Authorization must be Bearer")


async def test_a_revoked_device_is_refused_at_once(device: EndpointClient, operator: EndpointClient) -> None:
    assert (await device.call("GET", "/v1/site", scope="heartbeat:write"))["node"] == device.name
    await operator.call("POST", f"/v1/admin/devices/{device.name}/revoke")
    deadline = time.monotonic() + 5
    while (await device.call("GET", "/v1/site", scope="heartbeat:write", ok=False))[0] != 401:
        assert time.monotonic() < deadline, "still served 5 s after it was revoked"
    status, body = await device.token("heartbeat:write")
    assert (status, body["error"]) == (401, "invalid_client")


async def test_revocation_outlives_a_restart(
    device: EndpointClient, operator: EndpointClient, endpoint: Endpoint
) -> None:
    token = await device.login("heartbeat:write")
    await operator.call("POST", f"/v1/admin/devices/{device.name}/revoke")
    endpoint.program.kill()
    endpoint.start()
    status, body = await device.request("GET", "/v1/site", token=token)
    assert (status, body["detail"]) == (401, "the token was revoked")


async def test_an_operator_for_one_site_sees_that_site_alone(
    endpoint: Endpoint, operator: EndpointClient, site: str, device: EndpointClient
) -> None:
    await operator.put_site("other-site")
    await operator.ship("hw-other", "other-site", "node-1")
    key = SoftwareKey.generate()
    body = {"name": f"manager-{site}", "key": key.public, "scopes": ["admin", "fleet:read"], "site": site}
    await operator.call("POST", "/v1/admin/operators", body)
    async with endpoint.client(f"op:manager-{site}", key) as manager:
        assert [one["site"] for one in await manager.call("GET", "/v1/fleet/sites")] == [site]
        assert {one["site"] for one in await manager.call("GET", "/v1/fleet/nodes")} == {site}
        assert (await manager.call("GET", "/v1/fleet/sites/other-site", ok=False))[0] == 403
        assert (await manager.call("GET", "/v1/fleet/nodes?site=other-site", ok=False))[0] == 403
        assert (await manager.call("PUT", "/v1/admin/sites/other-site", {}, ok=False))[0] == 403
        assert (await manager.call("GET", "/v1/admin/audit", ok=False))[0] == 403
        assert (await manager.call("GET", f"/v1/nodes/{device.name}/commands")) == []
        other = await operator.call("GET", "/v1/fleet/nodes?site=other-site")
        assert (await manager.call("GET", f"/v1/nodes/{other[0]['node']}/commands", ok=False))[0] == 403
