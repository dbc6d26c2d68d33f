"""`vessel render DIR --output yaml|json`: the objects that Vessel would apply. Touches the folder and the terminal."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from vessel.cli_lint import OK, WRONG, add_arguments, load, say
from vessel.model import App
from vessel.reading.writing import to_yaml


def add_parser(subparsers: Any) -> None:
    """Adds `render` to the subcommands."""
    _add_arguments(subparsers.add_parser("render", help="print the objects that Vessel would apply"))


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_arguments(parser)
    parser.add_argument("--output", "-o", choices=("yaml", "json"), default="yaml")
    parser.add_argument("--app", help="this app's objects alone")


def main(argv: Sequence[str]) -> int:
    """Parses and runs: 0 printed, 1 problems on stderr, 2 it could not be read."""
    parser = argparse.ArgumentParser(prog="vessel render", description=__doc__)
    _add_arguments(parser)
    return run(parser.parse_args(argv))


def run(args: argparse.Namespace) -> int:
    """See main."""
    atlas = load(args)
    if isinstance(atlas, int):
        return atlas
    apps = [app for app in atlas.apps if args.app in (None, app.spec.name)]
    if not apps and args.app is not None:
        say(f"the Atlas has no app {args.app!r}")
        return WRONG
    if args.output == "json":
        items = [manifest.body for app in apps for manifest in app.manifests]
        print(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=2, ensure_ascii=False))
    else:
        for app in apps:
            _print_yaml(app)
    return OK


def _print_yaml(app: App) -> None:
    for manifest in app.manifests:
        place = f"{manifest.file}:{manifest.line}" if manifest.line else manifest.file
        sys.stdout.write(f"---\n# {app.spec.name}: {place}\n{to_yaml(manifest.body)}")
