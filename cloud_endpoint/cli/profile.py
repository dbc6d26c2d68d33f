"""Who the `galley` command is and where it asks: flags over the profile file; touches that file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import msgspec

from agents.core.errors import ConfigError, Rejected
from agents.core.settings import insecure
from agents.io import yamlfile

DEFAULT = Path("~/.config/galley/galley.yaml")


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`url` of the endpoint; `issuer` (default: the url); `ca_file`: PEM, where the system's store has not its CA;
    `operator`: name; `key_file`: the login's private key (JWK, mode 0600)."""

    url: str
    operator: str
    key_file: str
    issuer: str = ""
    ca_file: str | None = None


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that stand for, or override, the profile file."""
    parser.add_argument("--profile", type=Path, metavar="FILE", help=f"default: {DEFAULT}")
    for field in ("url", "issuer", "ca-file", "operator", "key-file"):
        parser.add_argument(f"--{field}", metavar=field.upper().replace("-", "_"))


def load(options: argparse.Namespace) -> Profile:
    """The profile; raises ConfigError with all that is wrong."""
    path: Path = options.profile or DEFAULT.expanduser()
    values: dict[str, Any] = {}
    if options.profile is not None or path.exists():
        try:
            document = yamlfile.read(path)
        except Rejected as error:
            raise ConfigError([str(error)]) from None
        if not isinstance(document, dict):
            raise ConfigError([f"{path}: must be a mapping"])
        values = dict(document)
    flags = {field: getattr(options, field) for field in Profile.__struct_fields__ if getattr(options, field)}
    try:
        profile = msgspec.convert({**values, **flags}, Profile)
    except msgspec.ValidationError as error:
        raise ConfigError([f"{path}: {error}", "give --url, --operator and --key-file, or the profile file"]) from None
    if why := insecure(profile.url):
        raise ConfigError([f"url: {why}"])
    return msgspec.structs.replace(profile, issuer=profile.issuer or profile.url)
