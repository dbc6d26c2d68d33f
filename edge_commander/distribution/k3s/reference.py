"""What we use of k3s, by name: flags, commands, files, labels, each with the page or source file that says so.

The data is reference.json. What is not in it cannot be emitted: a name that it lacks is a KeyError. Pure.
"""

from __future__ import annotations

import pkgutil
from typing import Annotated

import msgspec

NotEmpty = Annotated[str, msgspec.Meta(min_length=1)]


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a fact stands: a file of a public repository at the commit at which it was read, or a thread of it."""

    repo: NotEmpty
    path: NotEmpty
    commit: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{40}$")] | None = None


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Words of a command line of `k3s`."""

    words: Annotated[list[str], msgspec.Meta(min_length=1)]
    source: NotEmpty


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An absolute path."""

    path: Annotated[str, msgspec.Meta(pattern="^/")]
    source: NotEmpty


class Name(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name that k3s gives to something."""

    value: NotEmpty
    source: NotEmpty


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. `version`: the minor release of k3s whose documentation was read; `flags`: name to source."""

    version: NotEmpty
    sources: dict[str, Source]
    flags: dict[str, NotEmpty]
    commands: dict[str, Command]
    paths: dict[str, Place]
    names: dict[str, Name]


# By pkgutil: importlib.resources brings tempfile and zipfile into each process that reads settings.
REFERENCE = msgspec.json.decode(pkgutil.get_data(__package__, "reference.json") or b"", type=Reference)


def flag(name: str) -> str:
    """The flag as a key of config.yaml: its name without dashes."""
    if name not in REFERENCE.flags:
        raise KeyError(name)
    return name


def command(name: str) -> tuple[str, ...]:
    """Words for the command line."""
    return tuple(REFERENCE.commands[name].words)


def path(name: str) -> str:
    """An absolute path of k3s."""
    return REFERENCE.paths[name].path


def name(key: str) -> str:
    """A unit, label, annotation, Secret or address."""
    return REFERENCE.names[key].value
