"""Commands on the endpoint's own machine: demo certificates, the first operator, the API's description."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec

from agents.contracts.codec import in_words
from agents.core.errors import ConfigError, Rejected, Retryable
from agents.core.jose import SoftwareKey, thumbprint
from agents.io import config
from cloud_endpoint import keyfile, openapi
from cloud_endpoint.build import store_path
from cloud_endpoint.certs import CA, CERTIFICATE, DAYS, KEY, NAMES, make_certs
from cloud_endpoint.requests import Name
from cloud_endpoint.route import PEOPLE, read_scopes
from cloud_endpoint.settings import EndpointOwn
from cloud_endpoint.store import audit, clients
from cloud_endpoint.store.port import Tx
from cloud_endpoint.store.sqlite import SqliteStore

COMMANDS = {
    "make-certs": "makes a CA and a server certificate, for demo and tests",
    "operator": "operator add: registers an operator straight in the store",
    "openapi": "prints the API's description",
}


def run_local(program: str, argv: Sequence[str]) -> int:
    """Runs one of COMMANDS; 0, 1, or 78 for a wrong configuration."""
    options = _parser(program).parse_args(argv)
    try:
        if options.command == "make-certs":
            _make_certs(options)
        elif options.command == "openapi":
            sys.stdout.write(openapi.render(version("galley")))
        else:
            _operator_add(program, options)
    except ConfigError as error:
        for problem in error.problems:
            print(f"{program}: {problem}", file=sys.stderr)
        return 78
    except (Rejected, Retryable) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program)
    commands = parser.add_subparsers(dest="command", required=True)
    about = f"{COMMANDS['make-certs']}, valid for {DAYS} days; the CA's key is not kept, so it makes no second one"
    certs = commands.add_parser("make-certs", help=COMMANDS["make-certs"], description=about)
    certs.add_argument("directory", type=Path, help=f"where {CA}, {CERTIFICATE} and {KEY} go")
    certs.add_argument(
        "--name",
        action="append",
        help=f"a DNS name or address of the server (may be given again; default: {', '.join(NAMES)})",
    )
    certs.add_argument("--force", action="store_true", help="replace those that are there: their CA counts no longer")
    commands.add_parser("openapi", help=COMMANDS["openapi"])
    verbs = commands.add_parser("operator", help=COMMANDS["operator"]).add_subparsers(dest="verb", required=True)
    add = verbs.add_parser("add", help="registers an operator straight in the store")
    add.add_argument("name", help="of the operator: lower-case letters, digits, dots and hyphens")
    add.add_argument("--key-out", type=Path, required=True, help="file for the new private key of the login")
    add.add_argument("--command-key-out", type=Path, help="file for a new private key that signs commands (Ed25519)")
    add.add_argument(
        "--scopes", default="admin", help="comma-separated: " + ", ".join(sorted(PEOPLE)) + " (default: admin)"
    )
    add.add_argument("--config", type=Path, metavar="FILE", help="read this file alone (and the environment)")
    return parser


def _make_certs(options: argparse.Namespace) -> None:
    names = options.name or NAMES
    end = make_certs(options.directory, names, force=options.force)
    print(f"{options.directory / CA}: the CA, which nodes and people name as ca_file")
    print(f"{options.directory / CERTIFICATE}: the server's certificate, for {', '.join(names)}")
    print(f"{options.directory / KEY}: its private key")
    print(f"valid until {end:%Y-%m-%d %H:%M} UTC; the CA's key is not kept: after that all of them are made anew")


def _operator_add(program: str, options: argparse.Namespace) -> None:
    scopes = read_scopes(options.scopes)
    try:
        name = msgspec.convert(options.name, Name)
    except msgspec.ValidationError as error:
        raise Rejected(in_words(str(error)), path="name") from None
    settings = config.load("cloud_endpoint", EndpointOwn, options.config)
    path = store_path(settings.own, Path(settings.node.state_dir) / program)
    with keyfile.drafts(keyfile.wanted(options.key_out, options.command_key_out)) as keys:
        key, command_key = keys[0], keys[1] if len(keys) > 1 else None
        asyncio.run(_register(path, name, key, scopes, command_key))
    print(f"operator {name} with {' '.join(scopes)}: key {thumbprint(key.public)} in {options.key_out} logs in")
    if command_key is not None:
        print(f"operator {name}: key {thumbprint(command_key.public)} in {options.command_key_out} signs commands")


async def _register(
    path: Path, name: str, key: SoftwareKey, scopes: list[str], command_key: SoftwareKey | None
) -> None:
    store = await SqliteStore.open(path, lambda: time.time_ns() // 1_000_000)

    def work(tx: Tx) -> None:
        clients.add_operator(
            tx, name, key.public, scopes, command_key=None if command_key is None else command_key.public
        )
        audit.add(tx, "local", "operator add", f"op:{name}", detail=" ".join(scopes))

    try:
        await store.write(work)
    finally:
        await store.aclose()
