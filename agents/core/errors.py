"""The two families of expected errors. Anything else is a bug: it crashes the daemon and systemd restarts it. Pure."""

from __future__ import annotations


class GalleyError(Exception):
    """Base of both families. The text is for people and never holds a token or a Secret's content."""


class Retryable(GalleyError):
    """May pass by itself: becomes state plus backoff. `retry_after` in s, where the other side named one."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Rejected(GalleyError):
    """Will not pass by itself: becomes visible status and waits for a new input."""

    def __init__(self, message: str, *, file: str = "", line: int = 0, path: str = "", obj: str = "") -> None:
        super().__init__(message)
        self.file = file
        self.line = line
        self.path = path
        self.obj = obj

    def __str__(self) -> str:
        place = ":".join(part for part in (self.file, str(self.line) if self.line else "", self.path) if part)
        cause = super().__str__()
        return f"{place}: {cause}" if place else cause

    @property
    def cause(self) -> str:
        """The cause without its place."""
        return super().__str__()


class BatchRefused(Rejected):
    """The cloud will not take this very batch: one of its messages, or its size, is at fault."""


class ConfigError(Rejected):
    """The configuration is wrong; `problems` holds all errors at once. The process exits with 78 (EX_CONFIG). `sound`:
    what of it is right by its types, so that more of it can be judged (see settings.build); None: nothing."""

    def __init__(self, problems: list[str], sound: object = None) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.sound = sound
