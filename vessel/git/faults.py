"""What git's last words mean: wait and try again, or tell a person. Pure. Never repeats a credential."""

from __future__ import annotations

import re

from agents.core.atlas import shown
from agents.core.errors import GalleyError, Rejected, Retryable

_REJECTED: tuple[tuple[str, str], ...] = (
    (r"could not read (Username|Password)|Authentication failed|error: 401", "the credential is missing or refused"),
    (r"error: 403", "the credential may not read this repository"),
    (r"error: 404|repository '.*' not found", "there is no such repository"),
    (
        r"does not appear to be a git repository|not valid: is this a git repository|not a git repository",
        "is no Git repository",
    ),
    (r"error: 30[1-8]|unable to update url base from redirection", "answers with a redirect, which is not followed"),
    (r"detected dubious ownership", "the repository belongs to another user of this machine"),
    (r"transport '.*' not allowed", "the protocol is not allowed"),
    (
        r"fsck error|badTree|hasDotgit|hasDotdot|fullPathname|zeroPaddedFilemode|duplicateEntries",
        "holds a malformed object",
    ),
    (r"File size limit exceeded|File too large", "sends more than may be fetched"),
)
_CORRUPT = re.compile(
    r"loose object .* is corrupt|object file .* is empty|bad object|unable to read (tree|sha1|[0-9a-f]{40})"
    r"|packfile .* (cannot be accessed|does not match|is not a GIT packfile|claims to have|is truncated)"
    r"|pack has .* unresolved|inflate: data stream error|missing (blob|tree|commit)|not a git repository"
    r"|invalid sha1 pointer|bad config|broken (link|ref)|reference broken|is not a valid (object|'\w+' object)"
    r"|(?:index|shallow) file .* (corrupt|bad)|bad shallow|unknown index entry|did not send all necessary objects"
)
_REMOTE_GONE = re.compile(r"not our ref|couldn't find remote ref|no such remote ref")
_NOT_BY_ID = re.compile(r"unadvertised object")
_LENGTH = 300


class Corrupt(Exception):
    """The clone on disk is damaged. Never leaves this package: the clone is set aside and fetched anew."""


class AtlasAway(Retryable):
    """What is to be applied is neither in the clone nor can it be fetched now."""


def remote_fault(said: str, url: str) -> GalleyError:
    """The error for a command that talked to the remote and failed."""
    if _REMOTE_GONE.search(said):
        return Retryable(f"the Atlas at {shown(url)} no longer has the commit that was announced")
    if _NOT_BY_ID.search(said):
        return Retryable(
            f"the server of the Atlas at {shown(url)} hands out no commit by its id unless a branch is at it"
            " (uploadpack.allowReachableSHA1InWant)"
        )
    for pattern, cause in _REJECTED:
        if re.search(pattern, said, re.IGNORECASE):
            return Rejected(f"the Atlas at {shown(url)}: {cause}")
    return Retryable(f"the Atlas at {shown(url)} cannot be reached: {last_words(said)}")


def is_corrupt(said: str) -> bool:
    """Whether a local command's words mean a damaged clone."""
    return _CORRUPT.search(said) is not None


def last_words(said: str) -> str:
    """The line that tells the cause, printable, bounded, without user names and passwords."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    told = next((line for line in reversed(lines) if line.startswith(("fatal:", "error:"))), lines[-1] if lines else "")
    told = told.removeprefix("fatal:").removeprefix("error:").strip()
    told = re.sub(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"]+", lambda url: shown(url[0]), told)
    told = re.sub(r"(?i)(authorization|extraheader)\S*.*", "...", told)
    return "".join(c if c.isprintable() else " " for c in told)[:_LENGTH] or "no reason given"
