"""Which remote the Atlas comes from, and the configuration a git child gets for it. Pure.

Credentials never stand in a URL or an argument, which every process of the machine can read: they go through
the child's environment as a header for that origin alone, and redirects are not followed.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from agents.contracts.identity import GitCredential
from agents.core.atlas import check_address, check_branch
from agents.core.errors import Rejected

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
        check_address(self.url)
        check_branch(self.branch)

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


def check_revision(revision: str) -> str:
    """The revision itself. Raises Rejected when it is no whole commit id: it becomes part of paths and arguments."""
    if not _REVISION.fullmatch(revision):
        raise Rejected(f"{revision[:80]!r} is not a commit id")
    return revision
