"""Settings as they are read elsewhere than on their own machine: the files that they name lie below a folder. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from agents.core.settings import Settings

S = TypeVar("S", bound=msgspec.Struct)
_FILE = "file:"


def rooted(settings: Settings[S], root: str) -> Settings[S]:
    """The same with `root` before every absolute path (`/x`, `file:/x`) in them. `root`: a folder, no slash at its end.

    For who only looks at files: any text that begins so is taken for a path. Nothing is judged anew, as what fits
    a setting on its own machine may not fit it with a root before it.
    """
    return replace(
        settings,
        node=_below(settings.node, root),
        endpoint=_below(settings.endpoint, root),
        own=_below(settings.own, root),
    )


def _below(value: Any, root: str) -> Any:
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(
            value, **{name: _below(getattr(value, name), root) for name in value.__struct_fields__}
        )
    if isinstance(value, list):
        return [_below(one, root) for one in value]
    if isinstance(value, dict):
        return {key: _below(one, root) for key, one in value.items()}
    if type(value) is str:  # and no word of a closed list
        kind, rest = (_FILE, value.removeprefix(_FILE)) if value.startswith(_FILE) else ("", value)
        return f"{kind}{root}{rest}" if rest.startswith("/") else value
    return value
