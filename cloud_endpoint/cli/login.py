"""Why a login was refused, for the person whose profile it is. Pure.

The endpoint names the rule of the assertion that was broken (RFC 7523), which is right for who writes a client.
"""

from __future__ import annotations

_REFUSED = "client_assertion: "


def in_words(said: str, *, operator: str, issuer: str, key_file: str) -> str:
    """What is to be mended, out of what the endpoint said of a login with these; anything else stays as it is."""
    if not said.startswith(_REFUSED):
        return said
    cause = said.removeprefix(_REFUSED)
    who = f"the operator {operator!r}"
    key = f"{key_file} is not the key with which {who} logs in at this endpoint"
    clock = "the clocks of this machine and of the endpoint differ by more than half a minute"
    words = {
        "aud is not": f"the endpoint does not go by the name {issuer}: set `issuer` in the profile (or"
        " --issuer) to what cloud_endpoint.issuer is there",
        "iss is no": f"the endpoint knows no operator {operator!r}, or the operator was revoked",
        "alg must be": f"{key}: a key that signs commands (Ed25519) does not log in, nor the other way round",
        "kid is not": key,
        "the signature": key,
        "exp:": clock,
        "iat lies": clock,
    }
    return next((text for start, text in words.items() if cause.startswith(start)), f"the login was refused: {cause}")
