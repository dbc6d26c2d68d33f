"""What came of each step since the last report: counts, latencies, failures by kind. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from agents.contracts.messages import StepResult
from synthetic_client.histogram import Latencies

MAX_ERROR = 500


class Kind(StrEnum):
    """Why a step failed: a closed list, stable on the wire."""

    TIMEOUT = "timeout"  # no end within its time
    CONNECT = "connect"  # refused, unreachable, name not found, connection lost
    TLS = "tls"  # the peer could not be trusted
    STATUS = "status"  # another status than the scenario wants
    BODY = "body"  # the status is right and the content is not
    DENIED = "denied"  # credentials missing or refused
    WAITING = "waiting"  # something of our own is not there yet: token, site, credentials
    BROKEN = "broken"  # any other, such as a malformed answer


class StepFailed(Exception):
    """One run of a step failed. The text names the cause and never holds a secret."""

    def __init__(self, kind: Kind, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass
class Tally:
    """One step's window."""

    step: str
    type: str
    ok: int = 0
    failed: int = 0
    latencies: Latencies = field(default_factory=Latencies)
    errors: dict[str, int] = field(default_factory=dict)
    error: str = ""

    def success(self, seconds: float) -> None:
        """One run that did all it should, in `seconds`."""
        self.ok += 1
        self.latencies.add(seconds)

    def failure(self, kind: Kind, text: str) -> None:
        """One run that did not. Its time is in no histogram: a timeout says nothing of the platform's speed."""
        self.failed += 1
        self.errors[kind.value] = self.errors.get(kind.value, 0) + 1
        self.error = f"{kind.value}: {text}"[:MAX_ERROR]

    def result(self) -> StepResult:
        """As it is reported."""
        return StepResult(
            step=self.step,
            type=self.type,
            ok=self.ok,
            failed=self.failed,
            latency=self.latencies.wire(),
            error=self.error,
            errors=dict(sorted(self.errors.items())),
        )

    def take(self) -> Tally:
        """The window so far, as a value of its own; a new window begins here."""
        window = Tally(self.step, self.type, self.ok, self.failed, self.latencies, self.errors, self.error)
        self.ok = self.failed = 0
        self.latencies, self.errors, self.error = Latencies(), {}, ""
        return window

    def give_back(self, window: Tally) -> None:
        """Adds a window that could not be reported to the one that runs now."""
        self.ok += window.ok
        self.failed += window.failed
        self.latencies.include(window.latencies)
        for kind, count in window.errors.items():
            self.errors[kind] = self.errors.get(kind, 0) + count
        self.error = self.error or window.error
