"""JSON values to YAML that Kubernetes reads back as the same values. Pure."""

from __future__ import annotations

from typing import Any

import yaml
from yaml import CSafeDumper

from vessel.reading.scalars import resolve


class _Dumper(CSafeDumper):
    """PyYAML's, with a text in quotes wherever Kubernetes' rules would read it as something else (`y`, `1_0`)."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    plain = resolve(text) == text and isinstance(resolve(text), str)
    style = None if plain else '"'
    if plain and "\n" in text and text.isascii() and all(c.isprintable() or c == "\n" for c in text):
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(value: Any) -> str:
    """One document, block style, keys in their order, ending in a line break."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=2**31 - 1
    )
    return text
