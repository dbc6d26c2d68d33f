"""`vessel lint DIR`: everything that is wrong with an Atlas, without a cluster. Touches the folder and the terminal."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.core.errors import Retryable
from vessel.model import Atlas, AtlasRefused, Commit, describe
from vessel.reading.atlas import read_atlas
from vessel.reading.kustomize import KubectlKustomizer

OK, WRONG, FAILED = 0, 1, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What lint and render have in common."""
    parser.add_argument("directory", metavar="DIR", type=Path, help="the Atlas' working copy")
    parser.add_argument("--path", default=".", help="the directory in it that is the Atlas (default: all of it)")
    parser.add_argument("--kubectl", default="kubectl", help="the kubectl whose kustomize renders (default: on PATH)")


def add_parser(subparsers: Any) -> None:
    """Adds `lint` to the subcommands."""
    add_arguments(subparsers.add_parser("lint", help="say everything that is wrong with an Atlas"))


def main(argv: Sequence[str]) -> int:
    """Parses and runs: 0 nothing is wrong, 1 problems on stderr, 2 it could not be read."""
    parser = argparse.ArgumentParser(prog="vessel lint", description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(argv))


def run(args: argparse.Namespace) -> int:
    """See main."""
    atlas = load(args)
    if isinstance(atlas, int):
        return atlas
    count = sum(len(app.manifests) for app in atlas.apps)
    if not count:
        say("the Atlas holds no object: Vessel refuses an empty Atlas")
        return WRONG
    print(f"ok: {count} objects in {len(atlas.apps)} {'app' if len(atlas.apps) == 1 else 'apps'}")
    return OK


def load(args: argparse.Namespace) -> Atlas | int:
    """The Atlas, or the exit status after the problems were printed."""
    if not args.directory.is_dir():
        say(f"{args.directory} is no directory")
        return FAILED
    try:
        return asyncio.run(read_atlas(args.directory, Commit(""), KubectlKustomizer(args.kubectl), path=args.path))
    except AtlasRefused as refused:
        for problem in refused.problems:
            say(describe(problem))
        found = len(refused.problems)
        say(f"{found} {'problem' if found == 1 else 'problems'}")
        for line in hints(args.directory, args.path):
            say(line)
        return WRONG
    except Retryable as error:
        say(str(error))
        return FAILED


def hints(directory: Path, path: str) -> list[str]:
    """What may be meant instead, where the folder has no apps/ and one directly in it has."""
    base = directory / path
    if not base.is_dir() or (base / "apps").exists():
        return []
    inner = sorted(one.parent for one in base.glob("*/apps") if one.is_dir() and not one.parent.name.startswith("."))
    return [f"there is an apps/ in {one.name}/: is {one} the Atlas?" for one in inner]


def say(text: str) -> None:
    """One line on stderr; what a file says cannot steer the terminal."""
    print("".join(c if c.isprintable() else "\ufffd" for c in text), file=sys.stderr)
