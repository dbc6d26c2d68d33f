"""Who the `galley` command is and where it asks: flags over the profile file; touches that file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import msgspec

from agents.core.errors import ConfigError, Rejected
from agents.io import yamlfile
from cloud_endpoint.cli.problems import told

DEFAULT = Path("~/.config/galley/galley.yaml")
REQUIRED = ("url", "operator", "key_file")
HOW_TO_MAKE = """give --url, --operator and --key-file, or make the file, with lines such as
  url: https://galley.example:8443
  operator: alice
  key_file: ~/.config/galley/alice.json
  ca_file: ~/.config/galley/ca.pem   (where the system does not know the endpoint's CA)"""


FLAGS = {
    "url": "of the endpoint, such as https://galley.example:8443; this and the next four stand above the profile",
    "issuer": "what cloud_endpoint.issuer is there (default: the url)",
    "ca-file": "PEM of the CA that vouches for the endpoint (default: the system's)",
    "operator": "your name there",
    "key-file": "your login's private key (JWK, mode 0600)",
}


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
    parser.add_argument(
        "--profile", type=Path, metavar="FILE", help=f"who you are and where to ask (default: {DEFAULT})"
    )
    for field, text in FLAGS.items():
        parser.add_argument(f"--{field}", metavar=field.upper().replace("-", "_"), help=text)


def load(options: argparse.Namespace) -> Profile:
    """The profile; raises ConfigError with all that is wrong."""
    path: Path = options.profile or DEFAULT.expanduser()
    there = options.profile is not None or path.exists()
    values = _read(path) if there else {}
    flags = {field: getattr(options, field) for field in Profile.__struct_fields__ if getattr(options, field)}
    values |= flags
    if missing := [field for field in REQUIRED if field not in values]:
        if not there:
            raise ConfigError([f"{path}: there is no such file, and no flag gives {', '.join(missing)}", HOW_TO_MAKE])
        raise ConfigError([f"{path}: {field}: is required" for field in missing])
    try:
        profile = msgspec.convert(values, Profile)
    except msgspec.ValidationError as error:
        raise ConfigError([f"{path}: {told(error, Profile)}"]) from None
    if not profile.url.startswith("https://"):
        raise ConfigError(["url: must begin with https://: the endpoint does not speak plain http"])
    return msgspec.structs.replace(
        profile,
        issuer=profile.issuer or profile.url,
        key_file=str(Path(profile.key_file).expanduser()),
        ca_file=str(Path(profile.ca_file).expanduser()) if profile.ca_file else None,
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yamlfile.read(path)
    except Rejected as error:
        raise ConfigError([str(error), *([] if path.exists() else [HOW_TO_MAKE])]) from None
    if not isinstance(document, dict):
        raise ConfigError([f"{path}: must be a mapping", HOW_TO_MAKE])
    return dict(document)
