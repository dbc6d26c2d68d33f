"""Access tokens: JWT (RFC 9068) by this issuer's ES256 key, made and checked; revocations are held in memory."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Mapping

from agents.contracts.codec import ContractError, Struct, decode, encode
from agents.contracts.identity import DEVICE_SCOPES, Role, Scope
from agents.core.jose import SignatureRefused, SoftwareKey, sign_compact, verify_compact
from cloud_endpoint.app.principal import Principal
from cloud_endpoint.store.clients import TOKEN_SECONDS

_TYPES = frozenset({"at+jwt"})
_KNOWN_MAX = 20_000


class _Claims(Struct, frozen=True, kw_only=True):
    """`iat` has ms (RFC 7519 NumericDate may), so that a revocation cuts exactly."""

    iss: str
    sub: str
    aud: str
    exp: int
    iat: float
    jti: str
    scope: str
    site: str | None = None
    role: Role | None = None


class Issuer:
    """`revoked`: subject -> Unix ms; its tokens from before are refused. Who watches the store replaces it whole."""

    def __init__(self, issuer: str, key: SoftwareKey) -> None:
        self.issuer = issuer
        self._key = key
        self.revoked: Mapping[str, int] = {}
        self._known: OrderedDict[bytes, _Claims] = OrderedDict()

    def issue(self, who: Principal, now_ms: int) -> str:
        """A token for TOKEN_SECONDS. Raises ValueError for a device with a person's scope: a bug, whoever asks."""
        if who.is_device and (not who.scopes <= DEVICE_SCOPES or who.site is None):
            raise ValueError("a device can never hold this scope")
        claims = _Claims(
            iss=self.issuer,
            sub=who.subject,
            aud=self.issuer,
            iat=now_ms / 1000,
            exp=now_ms // 1000 + TOKEN_SECONDS,
            jti=secrets.token_urlsafe(16),
            scope=" ".join(sorted(who.scopes)),
            site=who.site,
            role=who.role,
        )
        return sign_compact(encode(claims), self._key, "at+jwt")

    def verify(self, token: str, now_ms: int) -> Principal:
        """Whose token it is; raises SignatureRefused naming the cause."""
        claims = self._claims(token)
        if claims.exp * 1000 <= now_ms:
            raise SignatureRefused("the token has expired")
        if claims.iat * 1000 <= self.revoked.get(claims.sub, 0):
            raise SignatureRefused("the token was revoked")
        scopes = frozenset(Scope(name) for name in claims.scope.split())
        return Principal(subject=claims.sub, scopes=scopes, site=claims.site, role=claims.role)

    def _claims(self, token: str) -> _Claims:
        """Signature and fixed claims, remembered: they never change for the same bytes."""
        digest = hashlib.sha256(token.encode(errors="replace")).digest()
        known = self._known.get(digest)
        if known is not None:
            return known
        payload = verify_compact(token, self._key.public, types=_TYPES)
        try:
            claims = decode(payload, _Claims)
        except ContractError:
            raise SignatureRefused("not an access token of this issuer") from None
        if claims.iss != self.issuer or claims.aud != self.issuer:
            raise SignatureRefused("the token is for another audience")
        self._known[digest] = claims
        if len(self._known) > _KNOWN_MAX:
            self._known.popitem(last=False)
        return claims
