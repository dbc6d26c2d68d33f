"""Git credentials of the sites, from a file that someone else rotates; touches that file."""

from __future__ import annotations

from pathlib import Path

from agents.contracts.codec import ContractError, Struct, decode
from agents.contracts.identity import GitCredential
from agents.core.errors import Rejected
from cloud_endpoint.settings import Git


class _Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: str
    username: str
    password: str

    def __repr__(self) -> str:
        return f"_Entry(host={self.host!r})"


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    v: int = 1
    default: _Entry | None = None
    sites: dict[str, _Entry] = {}


class GitCredentials:
    """Reads the file at each request, so that a rotated password serves at once."""

    def __init__(self, settings: Git) -> None:
        self._settings = settings

    def of(self, site: str) -> GitCredential | None:
        """The site's credential, None where there is none. Raises Rejected naming the file."""
        if self._settings.credential_file is None:
            return None
        path = Path(self._settings.credential_file)
        try:
            if path.stat().st_mode & 0o077:
                raise Rejected("must not be readable by others (mode 0600)", file=str(path))
            entries = decode(path.read_bytes(), _File)
        except OSError as error:
            raise Rejected(f"cannot be read: {error.strerror}", file=str(path)) from None
        except ContractError as error:
            raise Rejected(str(error), file=str(path)) from None
        entry = entries.sites.get(site, entries.default)
        if entry is None:
            return None
        return GitCredential(
            host=entry.host, username=entry.username, password=entry.password, expires_in=self._settings.seconds
        )
