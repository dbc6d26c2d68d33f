"""Whether the files that `cloud_endpoint:` names can be used, before anything starts. Reads them, changes nothing."""

from __future__ import annotations

from pathlib import Path

from agents.core.errors import Rejected
from agents.core.settings import Settings
from agents.io.tls import server_context
from cloud_endpoint import keyfile
from cloud_endpoint.app.gitcredentials import GitCredentials
from cloud_endpoint.settings import EndpointOwn, problems

SECTION = "cloud_endpoint"


def check(settings: Settings[EndpointOwn]) -> list[str]:
    """All problems, each with the path of its setting. Key files that are not there yet are made at the start."""
    own = settings.own
    found = problems(own)
    try:
        server_context(Path(own.tls.cert_file), Path(own.tls.key_file))
    except Rejected as error:
        setting = "key_file" if error.file == str(Path(own.tls.key_file)) else "cert_file"
        found.append(_problem(f"tls.{setting}", error))
    for name in ("token_key_file", "command_key_file"):
        file = getattr(own, name)
        try:
            if file and not _absent(Path(file)):
                keyfile.load(Path(file))
        except Rejected as error:
            found.append(_problem(name, error))
    try:
        GitCredentials(own.git).of("")
    except Rejected as error:
        found.append(_problem("git.credential_file", error))
    return found


def _absent(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False  # it cannot be reached: reading it says why
    return False


def _problem(setting: str, error: Rejected) -> str:
    return f"{SECTION}.{setting}: {error}"
