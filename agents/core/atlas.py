"""Where an Atlas may lie, and what of it only a node's own file may name. Pure.

The endpoint asks before it takes a site's Atlas, Vessel before it follows one: so they cannot differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from agents.contracts.identity import AtlasSource
from agents.core.errors import Rejected
from agents.core.settings import insecure

_BRANCH = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_./+@]{0,199}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,20}")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")
_OWN = "only a node's own galley.yaml may name a file"


def check_address(url: str) -> None:
    """Raises Rejected for what git cannot be given: all but https, http on loopback, and a file."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise Rejected("the Atlas' address is none") from None
    told = f"the Atlas' address {shown(url)!r}"
    if parts.scheme in ("https", "http") and "@" in parts.netloc:
        raise Rejected("the Atlas' address holds a credential: give it as `credential`, not in the URL")
    if parts.scheme == "file":
        if parts.netloc or not parts.path.startswith("/"):
            raise Rejected(f"{told} must be file:///path")
    elif parts.scheme not in ("https", "http"):
        raise Rejected(f"{told} must begin with https://, file:/// or, on this machine alone, http://127.0.0.1")
    elif why := insecure(url):
        raise Rejected(f"{told}: {why}")
    elif not parts.hostname:
        raise Rejected(f"{told} names no host")
    if not url.isprintable() or " " in url:
        raise Rejected("the Atlas' address holds spaces or control characters")


def check_branch(branch: str) -> None:
    """Raises Rejected for what is no branch's name."""
    bad = ("..", "//", "@{", "/.")
    if not _BRANCH.fullmatch(branch) or any(b in branch for b in bad) or branch.endswith((".", "/")):
        raise Rejected(f"{branch!r} is not a branch's name")


def wrong_assigned(source: AtlasSource) -> dict[str, str]:
    """All that is wrong with an Atlas which an operator gives to a site, by field: what Vessel would refuse there."""
    found = {}
    if _names_no_server(source.url):
        more = f"; {_OWN}" if source.url.strip().lower().startswith("file:") else ""
        found["url"] = f"must begin with https://, such as https://git.example/store-01234.git{more}"
    else:
        found["url"] = _why(check_address, source.url)
    found["branch"] = _why(check_branch, source.branch)
    if source.path.startswith("/") or ".." in source.path.split("/") or not source.path.isprintable():
        found["path"] = "must be a directory in the repository, such as . or sites/store-01234"
    if source.credential not in ("none", "endpoint"):
        found["credential"] = f"must be none or endpoint; {_OWN}"
    return {field: why for field, why in found.items() if why}


def _why(check: Callable[[str], None], text: str) -> str:
    try:
        check(text)
    except Rejected as error:
        return str(error)
    return ""


def check_assigned(source: AtlasSource) -> None:
    """Raises Rejected for a source that only the node's own configuration may name.

    A site document carries no signature: whoever writes it must not choose a file of this node to be sent to a host
    of his choice, nor a directory of this node to be applied.
    """
    if _names_no_server(source.url):
        raise Rejected(
            f"the site document names an Atlas at {shown(source.url)!r}: only this node's galley.yaml may name a file"
        )
    if source.credential not in ("none", "endpoint"):
        kind = source.credential.partition(":")[0][:50]
        raise Rejected(
            f"the site document names the Atlas' credential {kind!r}: only this node's galley.yaml may name a file"
        )


def shown(url: str) -> str:
    """What may be told of an address: scheme and host, or a plain path of this machine. More may hold a password."""
    scheme, _, rest = url.partition(":")
    if not _SCHEME.fullmatch(scheme) or not rest.startswith("//"):
        return "..."
    if scheme.lower() == "file" and rest.startswith("///") and not set(rest) & set("@?#:"):
        return url[:200]
    authority = re.split(r"[/?#]", rest[2:], maxsplit=1)[0]
    host = authority.rpartition("@")[2]
    if not _HOST.fullmatch(host) or "@" in rest[2 + len(authority) :]:
        return f"{scheme}://..."  # a password with a slash in it makes its beginning look like a host
    return f"{scheme}://{host}" + ("/..." if len(rest) > 2 + len(authority) else "")


def _names_no_server(url: str) -> bool:
    return url.partition(":")[0].strip().lower() not in ("https", "http")
