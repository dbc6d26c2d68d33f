"""os-release(5): what an operating system says of itself. Pure."""

from __future__ import annotations


def parse(text: str) -> dict[str, str]:
    """Its fields, without the quotes of the shell's form that the file is in; of one named twice the last counts."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if not equals or name.startswith("#"):
            continue
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[name] = value
    return found
