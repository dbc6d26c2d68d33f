"""The steps that plans are made of: values that say what they will do; `executor` does them in order. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_commander.distribution.k3s.facts import Marker
from edge_commander.distribution.k3s.files import File


@dataclass(frozen=True)
class Record:
    """Writes down how far this node came; before or after the work that it names."""

    marker: Marker

    def describe(self) -> str:
        """One line for the dry run and the audit."""
        return f"note that this node is {self.marker.role.value} in epoch {self.marker.epoch}"


@dataclass(frozen=True)
class WriteFile:
    """Replaces a file, so that after a crash either the old or the new one is there, whole."""

    file: File

    def describe(self) -> str:
        """Names the file, never its content."""
        return f"write {self.file.path} (mode {self.file.mode:o})"


@dataclass(frozen=True)
class RemoveFile:
    """Removes a file; nothing when it is not there."""

    path: str

    def describe(self) -> str:
        """Names the file."""
        return f"remove {self.path}"


@dataclass(frozen=True)
class MakeDirectory:
    """Makes a directory with its parents, for root alone."""

    path: str

    def describe(self) -> str:
        """Names the directory."""
        return f"make the directory {self.path}"


@dataclass(frozen=True)
class CopyFile:
    """Puts a copy of a file in its place by rename."""

    source: str
    target: str
    mode: int

    def describe(self) -> str:
        """Names both."""
        return f"copy {self.source} to {self.target}"


@dataclass(frozen=True)
class RemoveTree:
    """Removes what is below a path, and the path unless it is a mount point."""

    path: str

    def describe(self) -> str:
        """Names the path."""
        return f"remove everything below {self.path}"


@dataclass(frozen=True)
class Run:
    """Runs a program for at most `seconds`. No secret is ever among the words."""

    program: Literal["k3s", "systemctl", "killall"]
    words: tuple[str, ...]
    seconds: float

    def describe(self) -> str:
        """The command line."""
        return " ".join(("run", self.program, *self.words))


@dataclass(frozen=True)
class AwaitReady:
    """Waits until this Node is Ready and votes in etcd, in `version` where one is named. `network` False: it need not
    be Ready, for its network comes later and from elsewhere."""

    node: str
    seconds: float
    version: str = ""
    network: bool = True

    def describe(self) -> str:
        """What is waited for."""
        state = "Ready" if self.network else "there"
        return f"wait until Node {self.node} is {state}" + (f" in {self.version}" if self.version else "")


@dataclass(frozen=True)
class AskRemoval:
    """Asks k3s, by an annotation of the Node, to take its etcd member out, and waits until it says that it did."""

    node: str
    seconds: float

    def describe(self) -> str:
        """Names the Node."""
        return f"have k3s take the etcd member of Node {self.node} out"


@dataclass(frozen=True)
class RemoveEtcdMember:
    """Takes a member out of etcd that no Node stands for any more."""

    id: str
    name: str

    def describe(self) -> str:
        """Names the member."""
        return f"take {self.name} out of etcd"


@dataclass(frozen=True)
class DeleteObject:
    """Deletes an object of the API; nothing when it is not there."""

    path: str

    def describe(self) -> str:
        """Its path in the API."""
        return f"delete {self.path}"


Step = (
    Record
    | WriteFile
    | RemoveFile
    | MakeDirectory
    | CopyFile
    | RemoveTree
    | Run
    | AwaitReady
    | AskRemoval
    | RemoveEtcdMember
    | DeleteObject
)
