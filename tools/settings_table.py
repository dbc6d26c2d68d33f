"""Writes docs/settings.md, the tables of all settings, from the types that the programs check them by.

Usage: python -m tools.settings_table > docs/settings.md
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from agents.core.settings import EndpointSettings, Listener, NodeSettings
from cloud_endpoint.cli.profile import Profile
from cloud_endpoint.settings import EndpointOwn
from edge_commander.machine_settings.settings import MachineSettings
from edge_commander.settings import CommanderSettings
from heartbeat.settings import HeartbeatSettings
from synthetic_client.scenario import Cloud, Http, Kubernetes, Mqtt, Scenario
from synthetic_client.settings import SyntheticSettings
from vessel.settings import VesselSettings

SECTIONS: dict[str, type[msgspec.Struct]] = {
    "node": NodeSettings,
    "endpoint": EndpointSettings,
    "vessel": VesselSettings,
    "heartbeat": HeartbeatSettings,
    "synthetic_client": SyntheticSettings,
    "edge_commander": CommanderSettings,
    "cloud_endpoint": EndpointOwn,
    "machine": MachineSettings,
}
STEPS: dict[str, type[msgspec.Struct]] = {"http": Http, "kubernetes": Kubernetes, "cloud": Cloud, "mqtt": Mqtt}
HEAD = """# Settings

Made by `python -m tools.settings_table > docs/settings.md` from the types that check them; do not edit.

`/etc/galley/galley.yaml` begins with `v: 1`. `/etc/galley/galley.d/*.yaml` are laid over it in the order of their
names: mappings are merged at every depth, anything else is replaced. The environment comes last:
`GALLEY_VESSEL__POLL_SECONDS=5`. With `--config FILE`, that file and the environment alone count. An unknown key is an
error; `--check-config` on every daemon names all errors at once, and the exit status is then 78. Keys of mappings
are text (`"770": vessel`). A daemon checks `node`, `endpoint` and its own section, so one file may serve all.
"""
_WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false"}


def struct_of(hint: Any) -> type[msgspec.Struct] | None:
    """The struct that a type is, or may be besides None."""
    if get_origin(hint) in (Union, UnionType):
        found = [struct for part in get_args(hint) if (struct := struct_of(part))]
        return found[0] if len(found) == 1 else None
    return hint if isinstance(hint, type) and issubclass(hint, msgspec.Struct) else None


def fields(struct: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(path, type, default) of every key, those of nested structs in their place; default NODEFAULT: required."""
    hints = get_type_hints(struct, include_extras=True)
    for field in msgspec.structs.fields(struct):
        default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory
        if field.default is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        yield prefix + field.encode_name, hints[field.name], default


def keys(struct: type[msgspec.Struct], prefix: str) -> Iterator[str]:
    """Every path below a section, for the test of what the documents name."""
    for path, hint, _ in fields(struct, prefix):
        yield path
        if inner := struct_of(hint):
            yield from keys(inner, f"{path}.")


def describe(hint: Any) -> str:  # noqa: PLR0911 - one line a form
    """A type in words."""
    if get_origin(hint) is Annotated:
        base, *notes = get_args(hint)
        if choices := [c for note in notes if isinstance(note, msgspec.Meta) and (c := _choices(note.pattern))]:
            return "one of " + ", ".join(f"`{choice}`" for choice in choices[0])
        bounds = "".join(_bounds(note) for note in notes if isinstance(note, msgspec.Meta))
        return describe(base) + bounds
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(dict.fromkeys(describe(part) for part in get_args(hint) if part is not NoneType))
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(f"`{value}`" for value in get_args(hint))
    if get_origin(hint) is list:
        return f"list of {describe(get_args(hint)[0])}"
    if get_origin(hint) is dict:
        key, value = get_args(hint)
        return f"mapping of {describe(key)} to {describe(value)}"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return "one of " + ", ".join(f"`{member.value}`" for member in hint)
    return _WORDS.get(hint, "mapping, see below")


def _choices(pattern: str | None) -> list[str]:
    """The words of a pattern that is nothing but a list of them."""
    found = re.fullmatch(r"\^\(([A-Za-z|-]+)\)\\Z", pattern or "")
    return found[1].split("|") if found else []


def _bounds(meta: msgspec.Meta) -> str:
    said = [
        f"{word} {value:.12g}"
        for word, value in (("above", meta.gt), ("at least", meta.ge), ("below", meta.lt), ("at most", meta.le))
        if value is not None
    ]
    if meta.pattern:
        said.append(f"like `{meta.pattern}`")
    if meta.min_length:
        said.append(f"length at least {meta.min_length}")
    if meta.max_length:
        said.append(f"length at most {meta.max_length}")
    return f" ({', '.join(said)})" if said else ""


def _default(value: Any, struct: type[msgspec.Struct] | None) -> str:
    if value is msgspec.NODEFAULT:
        return "**required**"
    if value is None or value == "":
        return "none"
    if struct is not None and not isinstance(value, type(None)):
        return "see below"
    return f"`{msgspec.json.encode(value).decode()}`"


def table(struct: type[msgspec.Struct], prefix: str, level: int) -> Iterator[str]:
    """Heading, what the docstring says, the keys, then the tables of nested structs."""
    said = inspect.cleandoc(struct.__doc__ or "")
    yield from ("", said, "", "| key | value | default |", "|---|---|---|")
    nested: list[tuple[str, type[msgspec.Struct], Any]] = []
    for path, hint, default in fields(struct, f"{prefix}." if prefix else ""):
        inner = struct_of(hint)
        if inner is Listener:  # shown in its place, with the defaults of that very listener
            for key, kind, value in fields(inner, f"{path}."):
                shown = getattr(default, key.rpartition(".")[2], value)
                yield f"| `{key}` | {describe(kind)} | `{msgspec.json.encode(shown).decode()}` |"
            continue
        if inner is not None:
            nested.append((path, inner, default))
        value = describe(hint).replace("|", "\\|")
        yield f"| `{path}` | {value} | {_default(default, inner).replace('|', chr(92) + '|')} |"
    for path, inner, _ in nested:
        yield from ("", f"{'#' * level} {path}")
        yield from table(inner, path, level + 1)


def render() -> str:
    """The whole page."""
    lines = [HEAD.rstrip()]
    for name, struct in SECTIONS.items():
        lines += ["", f"## {name}", *table(struct, name, 3)]
    lines += ["", "## The scenario of the synthetic client", "", "The file that `synthetic_client.scenario` names."]
    lines += table(Scenario, "", 3)
    for name, struct in STEPS.items():
        lines += ["", f"### A step of `type: {name}`", *table(struct, "", 4)]
    lines += ["", "## The profile of `galley`", "", "`~/.config/galley/galley.yaml`, or the file of `--profile`."]
    lines += table(Profile, "", 3)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
