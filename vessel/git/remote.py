"""Which remote the Atlas comes from, and the configuration a git child gets for it. Pure.

Credentials never stand in a URL or an argument, which every process of the machine can read: they go through
the child's environment as a header for that origin alone, and redirects are not followed.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from agents.contracts.identity import AtlasSource, GitCredential
from agents.core.errors import Rejected
from agents.core.settings import insecure

_BRANCH = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_./+@]{0,199}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,20}")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")
_REVISION = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class Remote:
    """A checked remote: https, http on loopback, or file. `ca_file`: PEM of the authorities to trust instead. `proxy`:
    the site's own, empty where it is reached without one, None where the environment says."""

    url: str
    branch: str = "main"
    ca_file: str = ""
    proxy: str | None = None

    def __post_init__(self) -> None:
        """Raises Rejected when the address or the branch cannot be used."""
        try:
            parts = urlsplit(self.url)
        except ValueError:
            raise Rejected("the Atlas' address is none") from None
        if parts.scheme in ("https", "http") and "@" in parts.netloc:
            raise Rejected("the Atlas' address holds a credential: give it as `credential`, not in the URL")
        if parts.scheme == "file":
            if parts.netloc or not parts.path.startswith("/"):
                raise Rejected(f"the Atlas' address {shown(self.url)!r} must be file:///path")
        elif parts.scheme not in ("https", "http"):
            raise Rejected(
                f"the Atlas' address {shown(self.url)!r} must begin with https://, file:///"
                " or, on this machine alone, http://127.0.0.1"
            )
        elif why := insecure(self.url):
            raise Rejected(f"the Atlas' address {shown(self.url)!r}: {why}")
        elif not parts.hostname:
            raise Rejected(f"the Atlas' address {shown(self.url)!r} names no host")
        if not self.url.isprintable() or " " in self.url:
            raise Rejected("the Atlas' address holds spaces or control characters")
        bad = ("..", "//", "@{", "/.")
        if not _BRANCH.fullmatch(self.branch) or any(b in self.branch for b in bad) or self.branch.endswith((".", "/")):
            raise Rejected(f"{self.branch!r} is not a branch's name")

    @property
    def ref(self) -> str:
        """The branch's full name."""
        return f"refs/heads/{self.branch}"

    @property
    def origin(self) -> str:
        """Scheme, host and port: where a credential may go."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}/"

    def configuration(self, credential: GitCredential | None) -> dict[str, str]:
        """git's configuration for this remote. Raises Rejected when the credential is another host's."""
        settings = dict(CONFIGURATION)
        if self.ca_file:
            settings["http.sslCAInfo"] = self.ca_file
        if self.proxy is not None:
            settings["http.proxy"] = self.proxy
        if credential is not None and not self.url.startswith("file:"):
            parts = urlsplit(self.url)
            if credential.host not in (parts.netloc, parts.hostname):
                raise Rejected(f"the Git credential is for {credential.host!r}, the Atlas lies at {parts.netloc!r}")
            pair = f"{credential.username}:{credential.password}".encode()
            settings[f"http.{self.origin}.extraHeader"] = f"Authorization: Basic {base64.b64encode(pair).decode()}"
        return settings


CONFIGURATION = {
    "protocol.version": "2",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "500",
    "http.lowSpeedTime": "30",
    "http.emptyAuth": "false",
    "http.cookieFile": "",
    "credential.helper": "",
    "core.hooksPath": "/dev/null",
    "core.attributesFile": "/dev/null",
    "core.fsmonitor": "false",
    "core.bigFileThreshold": "8m",
    "core.packedGitLimit": "64m",
    "core.fsync": "all",
    "submodule.recurse": "false",
    "fetch.fsckObjects": "true",
    "fetch.recurseSubmodules": "false",
    "fetch.unpackLimit": "1",
    "fetch.writeCommitGraph": "false",
    "gc.auto": "0",
    "gc.packRefs": "false",
    "maintenance.auto": "false",
    "pack.threads": "1",
    "pack.windowMemory": "32m",
    "log.showSignature": "false",
    "i18n.logOutputEncoding": "UTF-8",
    "advice.defaultBranchName": "false",
    "init.defaultBranch": "main",
    "filter.lfs.smudge": "",
    "filter.lfs.process": "",
    "filter.lfs.required": "false",
}
"""What every git child gets: no helper, hook, filter or submodule; objects checked as they arrive."""


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


def check_assigned(source: AtlasSource) -> None:
    """Raises Rejected for a source that only the node's own configuration may name.

    A site document carries no signature: whoever writes it must not choose a file of this node to be sent to a host
    of his choice, nor a directory of this node to be applied.
    """
    if source.url.partition(":")[0].strip().lower() not in ("https", "http"):
        raise Rejected(
            f"the site document names an Atlas at {shown(source.url)!r}: only this node's galley.yaml may name a file"
        )
    if source.credential not in ("none", "endpoint"):
        kind = source.credential.partition(":")[0][:50]
        raise Rejected(
            f"the site document names the Atlas' credential {kind!r}: only this node's galley.yaml may name a file"
        )


def check_revision(revision: str) -> str:
    """The revision itself. Raises Rejected when it is no whole commit id: it becomes part of paths and arguments."""
    if not _REVISION.fullmatch(revision):
        raise Rejected(f"{revision[:80]!r} is not a commit id")
    return revision
