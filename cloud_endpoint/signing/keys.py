"""One `--key` for every command: which kind of key its text names. Touches what that kind does."""

from __future__ import annotations

from pathlib import Path

from agents.core.errors import Rejected
from agents.core.jose import Signer
from cloud_endpoint import keyfile

AGENT = "ssh-agent:"
TOKEN = "pkcs11:"  # noqa: S105 - the scheme of RFC 7512
HELP = "your key that signs (Ed25519): a file, ssh-agent:SHA256:FINGERPRINT, ssh-agent:COMMENT or a pkcs11: URI"


def open_key(text: str | Path) -> Signer:
    """The key of a `--key`; raises Rejected, which names the key and holds no secret.

    A token's PIN is asked for when it first signs, not here: the public half needs none.
    """
    name = str(text)
    if name.startswith(AGENT):
        from cloud_endpoint.signing.ssh_agent import find

        return find(name.removeprefix(AGENT))
    if name.startswith(TOKEN):
        from cloud_endpoint.signing.pkcs11 import find_on_token

        return find_on_token(name)
    return keyfile.load(Path(name))


def operators_key(text: str | Path) -> Signer:
    """A key that signs as an operator (Ed25519); raises Rejected naming it."""
    key = open_key(text)
    if key.public["crv"] != "Ed25519":
        raise Rejected(
            "is not a key that signs (Ed25519): the one of `operator add --command-key-out` is", file=str(text)
        )
    return key
