"""Who is asking. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from agents.contracts.identity import Role, Scope


@dataclass(frozen=True)
class Principal:
    """A login. `subject`: node id or `op:<name>`. `site`: the only one it may touch, None for all (people alone).
    `role`: of a device's token."""

    subject: str
    scopes: frozenset[Scope]
    site: str | None = None
    role: Role | None = None

    @property
    def is_device(self) -> bool:
        """A node, not a person or script."""
        return not self.subject.startswith("op:")

    def may_see(self, site: str) -> bool:
        """Whether this site is its own, or all are."""
        return self.site is None or self.site == site
