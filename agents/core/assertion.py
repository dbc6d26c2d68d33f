"""What a client signs to be known: the token assertion (RFC 7523) and the enrolment proof; made and checked. Pure.

Both sides use this module, so that they cannot differ. Times are Unix seconds.
"""

from __future__ import annotations

from typing import Any

import msgspec

from agents.contracts.codec import ContractError, Struct, decode, encode
from agents.core.jose import Jwk, SignatureRefused, Signer, read_payload, sign_compact, thumbprint, verify_compact

MAX_LIFETIME = 60
SKEW = 30
"""How far a client's clock may be ahead of or behind the endpoint's, s."""
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
GRANT_TYPE = "client_credentials"
_ASSERTION_TYPES = frozenset({"", "JWT", "client-authentication+jwt"})
_PROOF_TYPE = "galley-enrol+jws"
_PROOF_TYPES = frozenset({"", "JWT", _PROOF_TYPE})


class Claims(Struct, frozen=True, kw_only=True):
    """An assertion's claims. `aud` stays unread until checked: RFC 7519 also allows a list, this issuer does not."""

    iss: str
    sub: str
    aud: msgspec.Raw
    exp: int
    iat: int
    jti: str
    nbf: int | None = None


class _Proof(Struct, frozen=True, kw_only=True):
    aud: msgspec.Raw
    iat: int
    hardware_id: str
    sealing: str


def client_assertion(
    client: str, issuer: str, signer: Signer, *, now: int, jti: str, lifetime: int = MAX_LIFETIME
) -> str:
    """The JWT for `POST /v1/token`. `client`: node id, or `op:<name>`. `jti`: at least 128 random bits, once only."""
    claims = {"iss": client, "sub": client, "aud": issuer, "iat": now, "exp": now + lifetime, "jti": jti}
    return sign_compact(encode(claims), signer, "JWT")


def token_form(client: str, issuer: str, signer: Signer, scope: str, *, now: int, jti: str) -> dict[str, str]:
    """The form fields of `POST /v1/token`."""
    return {
        "grant_type": GRANT_TYPE,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": client_assertion(client, issuer, signer, now=now, jti=jti),
        "scope": scope,
    }


def unverified_client(token: str) -> str:
    """Who the assertion says it is from, to find the registered key; trust nothing before `check_assertion`."""
    return _claims(read_payload(token)).iss


def check_assertion(token: str, client: str, public: Jwk, issuer: str, now: int) -> Claims:
    """Verifies an assertion with the client's registered key; raises SignatureRefused naming the rule it broke."""
    claims = _claims(verify_compact(token, public, types=_ASSERTION_TYPES))
    if claims.iss != client or claims.sub != client:
        raise SignatureRefused("iss and sub must both be the client id")
    _check_audience(claims.aud, issuer)
    if claims.exp <= now - SKEW:
        raise SignatureRefused("exp: the assertion has expired")
    if claims.iat > now + SKEW:
        raise SignatureRefused("iat lies in the future")
    if claims.nbf is not None and claims.nbf > now + SKEW:
        raise SignatureRefused("nbf lies in the future")
    if not 0 < claims.exp - claims.iat <= MAX_LIFETIME:
        raise SignatureRefused(f"lifetime (exp - iat) must be 1 to {MAX_LIFETIME} s")
    if not 16 <= len(claims.jti) <= 128:
        raise SignatureRefused("jti must have 16 to 128 characters")
    return claims


def enrolment_proof(hardware_id: str, issuer: str, signer: Signer, sealing: Jwk, *, now: int) -> str:
    """The `proof` of an EnrolRequest: possession of the signing key, bound to the sealing key and this issuer."""
    claims = {"aud": issuer, "iat": now, "hardware_id": hardware_id, "sealing": thumbprint(sealing)}
    return sign_compact(encode(claims), signer, _PROOF_TYPE)


def check_enrolment_proof(proof: str, hardware_id: str, *, signing: Jwk, sealing: Jwk, issuer: str, now: int) -> None:
    """Verifies the proof with the key it comes with; raises SignatureRefused."""
    payload = verify_compact(proof, signing, types=_PROOF_TYPES)
    try:
        claims = decode(payload, _Proof)
    except ContractError as error:
        raise SignatureRefused(f"proof: {error}") from None
    _check_audience(claims.aud, issuer)
    if abs(claims.iat - now) > MAX_LIFETIME + SKEW:
        raise SignatureRefused("iat: the proof is not of now")
    if claims.hardware_id != hardware_id:
        raise SignatureRefused("hardware_id is not the one of the request")
    if claims.sealing != thumbprint(sealing):
        raise SignatureRefused("sealing is not the thumbprint of the request's sealing key")


def _claims(payload: bytes) -> Claims:
    try:
        return decode(payload, Claims)
    except ContractError as error:
        raise SignatureRefused(f"claims: {error}") from None


def _check_audience(raw: msgspec.Raw, issuer: str) -> None:
    audience: Any = msgspec.json.decode(raw)
    if not isinstance(audience, str):
        raise SignatureRefused("aud must be the issuer as the only string, not a list")
    if audience != issuer:
        raise SignatureRefused("aud is not this issuer")
