"""The values that Vessel's parts hand to one another: an Atlas, its apps, their manifests. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from agents.contracts.messages import Problem
from agents.core.errors import Rejected


@dataclass(frozen=True, order=True)
class Ref:
    """Names one object. `namespace` is empty for cluster-scoped ones (and before scope is resolved)."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @property
    def group(self) -> str:
        """The API group, empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Identity across versions: group, kind, namespace, name."""
        return (self.group, self.kind, self.namespace, self.name)

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {where}{self.name}"


@dataclass(frozen=True)
class Manifest:
    """One object of the Atlas: JSON `body`, and the `file` (relative to the Atlas) and `line` it begins at.

    `body` is never printed: it may be a Secret.
    """

    ref: Ref
    body: dict[str, Any] = field(repr=False)
    file: str
    line: int = 0


@dataclass(frozen=True)
class AppSpec:
    """`apps/<name>/app.yaml`. `service_account` is `namespace/name`; `approve_prune` a commit id or empty."""

    name: str
    owner: str = ""
    namespace: str = "default"
    service_account: str = "galley-system/atlas-admin"
    stage: int = 0
    timeout_seconds: float = 300.0
    path: str = "."
    approve_prune: str = ""
    file: str = ""


@dataclass(frozen=True)
class App:
    """One app with all its manifests, in the order they are read (files by name, documents by position)."""

    spec: AppSpec
    manifests: tuple[Manifest, ...]


@dataclass(frozen=True)
class Commit:
    """A commit of the Atlas. `time`: committer's, Unix s. `subject` and `author` are untrusted text."""

    revision: str
    subject: str = ""
    author: str = ""
    time: int = 0


@dataclass(frozen=True)
class Atlas:
    """What one commit says must run."""

    commit: Commit
    apps: tuple[App, ...]


class AtlasRefused(Rejected):
    """The commit does not parse, render or pass: nothing is changed. Carries every problem found."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(describe(problem) for problem in problems[:5]) or "refused")
        self.problems = problems


def describe(problem: Problem) -> str:
    """One line for a person: `file:line: object: path: cause`."""
    place = f"{problem.file}:{problem.line}" if problem.line else problem.file
    return ": ".join(part for part in (place, problem.object, problem.path, problem.cause) if part)
