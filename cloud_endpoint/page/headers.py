"""Security headers of everything the page serves, and where a write may come from. Pure.

Sources: CSP Level 3, Fetch Metadata (Sec-Fetch-Site), OWASP's cheat sheet on cross-site request forgery.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

CSP = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)
SECURITY: Mapping[str, str] = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",  # the login's address holds a code
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
NO_STORE: Mapping[str, str] = {**SECURITY, "Cache-Control": "no-store"}
REVALIDATE: Mapping[str, str] = {**SECURITY, "Cache-Control": "private, no-cache"}


def foreign(headers: Mapping[str, str], scheme: str, host: str) -> str:
    """Why a write is not this page's own; "" when it is. `host`: the request's Host.

    Browsers send Sec-Fetch-Site; without it, Origin must be this very origin. Under `Referrer-Policy: no-referrer`
    a form's Origin is `null`, which counts only together with Sec-Fetch-Site.
    """
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if site is not None and site != "same-origin":
        return "it comes from another site"
    if origin is None or origin == "null":
        return "" if site == "same-origin" else "it does not say where it comes from"
    parts = urlsplit(origin)
    return "" if (parts.scheme, parts.netloc) == (scheme, host) else "it comes from another origin"
