"""What a daemon says of itself: components with a verdict each, and the one line that systemd shows. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agents.core.ports import Clock


@dataclass(frozen=True)
class Component:
    """`since`: Unix ms at which `ok` last changed."""

    ok: bool
    text: str
    since: int


class Health:
    """The components' verdicts. `changed` is called after every change."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.components: dict[str, Component] = {}
        self.changed: Callable[[], None] = lambda: None

    def set(self, component: str, ok: bool, text: str) -> None:
        """Says how a component is. `text` is for people and holds no secret."""
        before = self.components.get(component)
        since = before.since if before is not None and before.ok == ok else self._clock.wall_ms()
        now = Component(ok=ok, text=text, since=since)
        if now != before:
            self.components[component] = now
            self.changed()

    @property
    def ok(self) -> bool:
        """True while every component is."""
        return all(component.ok for component in self.components.values())

    def document(self) -> dict[str, Any]:
        """The body of `/healthz`."""
        return {
            "status": "ok" if self.ok else "failing",
            "components": {
                name: {"ok": component.ok, "text": component.text, "since": component.since}
                for name, component in sorted(self.components.items())
            },
        }

    def line(self) -> str:
        """One line for `STATUS=`: what fails first, else everything's text."""
        chosen = [(n, c) for n, c in sorted(self.components.items()) if not c.ok] or sorted(self.components.items())
        return "; ".join(f"{name}: {component.text}" for name, component in chosen) or "running"
