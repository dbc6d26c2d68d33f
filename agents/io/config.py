"""Finds and reads the configuration: `/etc/galley/galley.yaml`, `galley.d/*.yaml`, then the environment.

Touches those files and the environment; what the values mean is decided in agents.core.settings.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from agents.core.errors import ConfigError, Rejected
from agents.core.settings import Settings, build, placed
from agents.io.yamlfile import lines_of, read

S = TypeVar("S", bound=msgspec.Struct)

ROOT = Path("/etc/galley")
_MISSING = {
    False: "there is no such file: make it (docs/operations.md, docs/settings.md), or name another with --config FILE",
    True: "there is no such file: --config FILE must name the configuration",
}


def load(
    section: str,
    type_: type[S],
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    root: Path = ROOT,
    needed: bool = True,
) -> Settings[S]:
    """The checked settings of one daemon; with `path`, that file alone and the environment. `needed` False: where there
    is no file yet, and none was named, every setting has its default.

    Raises ConfigError with every problem at once. Files that cannot be read are named first, alone: what they
    would have held cannot be judged. Relative `node.state_dir` and `node.run_dir` are taken from the directory in which
    the command was started, and come out absolute: children (git, kubectl) work elsewhere.
    """
    main = root / "galley.yaml"
    found = [main] if needed or main.exists() else []
    files = [path] if path is not None else [*found, *_drop_ins(root / "galley.d")]
    documents: list[tuple[str, Any]] = []
    problems: list[str] = []
    for file in files:
        try:
            documents.append((str(file), read(file)))
        except Rejected as error:
            problems.append(
                f"{file}: {_MISSING[path is not None]}"
                if isinstance(error.__context__, FileNotFoundError)
                else str(error)
            )
    if problems:
        raise ConfigError(problems)
    variables = os.environ if environ is None else environ
    try:
        settings = build(documents, variables, section, type_)
    except ConfigError as error:
        lines = cache(_lines)  # each file once, and not for every problem in it
        raise ConfigError([placed(one, documents, variables, lines) for one in error.problems], error.sound) from None
    node = settings.node
    absolute = {name: os.path.abspath(getattr(node, name)) for name in ("state_dir", "run_dir")}  # noqa: PTH100 - resolves no link
    return replace(settings, node=msgspec.structs.replace(node, **absolute))


def _lines(name: str) -> Mapping[str, int]:
    """Of a file that was read a moment ago; none where it is gone, or another now."""
    try:
        return lines_of(Path(name).read_bytes())
    except (OSError, yaml.YAMLError):
        return {}


def _drop_ins(directory: Path) -> list[Path]:
    try:
        return sorted(file for file in directory.iterdir() if file.suffix == ".yaml")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError([f"{directory}: cannot be read: {error.strerror}"]) from None
