"""What may be done to this node and its cluster, as values: each says what it does, and does it on a World. Pure.

Nothing here decides: which steps, and in which order, is `plan`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal, Protocol

import msgspec

from agents.contracts.codec import Struct
from agents.contracts.ids import SiteId


class Marker(Struct, frozen=True, kw_only=True):
    """What this node knows of its cluster; written before the first thing is done, so that what a crash left is known.

    `role`: how the node came to it. `done`: it got there. `cluster`: the UID of the namespace kube-system, which is
    the cluster's identity; empty until `done`. `version`: of Kubernetes on this node.
    """

    site: SiteId
    epoch: Annotated[int, msgspec.Meta(ge=1)]
    node: str
    address: str
    role: Literal["init", "join", "restore", "worker"]
    done: bool = False
    cluster: str = ""
    version: str = ""


class World(Protocol):
    """What steps do their work with. Each raises Retryable or Rejected."""

    async def run(self, program: str, *arguments: str, seconds: float) -> str:
        """Runs a program in bounded time; its output."""

    async def write(self, path: str, data: bytes, mode: int) -> None:
        """Replaces a file durably; makes its folder."""

    async def remove(self, path: str) -> None:
        """Removes a file or a tree; nothing when it is not there."""

    async def link(self, path: str, target: str) -> None:
        """Points a symbolic link at `target`, by rename."""

    async def name_address(self, name: str, address: str) -> None:
        """Makes a name an address in the hosts file; an empty address takes the name out."""

    async def make_etcd(self, node: str, address: str, token: str) -> None:
        """Makes the data of an etcd with that node as its one member."""

    async def restart_components(self, components: tuple[str, ...], revision: str) -> None:
        """Takes static pods away, and brings each back with our annotation, once its port is free; returns when all
        serve again."""

    async def put_away(self) -> None:
        """Gives the static pods' manifests names that the kubelet does not read."""

    async def end_processes(self) -> None:
        """Ends etcd and the control plane; returns when they are gone."""

    async def free_turn(self) -> None:
        """Deletes the Lease of whose turn it is to join; nothing when it is not there."""

    async def mark(self, marker: Marker | None) -> None:
        """Keeps the marker durably; None removes it."""

    async def finish(self, marker: Marker) -> None:
        """Waits for this node's own API server, and keeps the marker as done, with the cluster's identity."""

    async def wait_node(self, node: str, version: str) -> None:
        """Waits until the Node is Ready in that version."""

    async def remove_etcd_member(self, member: int) -> None:
        """Takes a member out of etcd; nothing when it is not in."""

    async def delete_node(self, node: str) -> None:
        """Deletes the Node; nothing when it is not there."""


@dataclass(frozen=True)
class Run:
    """Runs a program in at most `seconds`."""

    program: str
    arguments: tuple[str, ...]
    seconds: float

    def describe(self) -> str:
        """One line for people."""
        return f"run {' '.join((self.program, *self.arguments))}"

    async def execute(self, world: World) -> None:
        """Does it."""
        await world.run(self.program, *self.arguments, seconds=self.seconds)


@dataclass(frozen=True)
class Write:
    """Writes a file durably. Its content may be a secret, and is not shown."""

    path: str
    data: bytes = field(repr=False)
    mode: int = 0o600

    def describe(self) -> str:
        """One line for people."""
        return f"write {self.path} ({len(self.data)} bytes, mode {self.mode:04o})"

    async def execute(self, world: World) -> None:
        """Does it."""
        await world.write(self.path, self.data, self.mode)


@dataclass(frozen=True)
class Remove:
    """Removes a file or a tree."""

    path: str

    def describe(self) -> str:
        """One line for people."""
        return f"remove {self.path}"

    async def execute(self, world: World) -> None:
        """Does it."""
        await world.remove(self.path)


@dataclass(frozen=True)
class Link:
    """Points a symbolic link somewhere."""

    path: str
    target: str

    def describe(self) -> str:
        """One line for people."""
        return f"link {self.path} to {self.target}"

    async def execute(self, world: World) -> None:
        """Does it."""
        await world.link(self.path, self.target)


@dataclass(frozen=True)
class NameAddress:
    """Makes a name an address on this node."""

    name: str
    address: str

    def describe(self) -> str:
        """One line for people."""
        return f"make {self.name} {self.address or 'unknown'}"

    async def execute(self, world: World) -> None:
        """Does it."""
        await world.name_address(self.name, self.address)


@dataclass(frozen=True)
class MakeEtcd:
    """Makes etcd's data, the only time that they are made from nothing. `token`: tells clusters apart."""

    node: str
    address: str
    token: str

    def describe(self) -> str:
        """One line for people."""
        return f"make etcd's data for {self.node} at {self.address}"

    async def execute(self, world: World) -> None:
        """Does it."""
        await world.make_etcd(self.node, self.address, self.token)


@dataclass(frozen=True)
class RestartComponents:
    """Restarts parts of the control plane, at the same time. `revision`: new with each restart."""

    components: tuple[str, ...]
    revision: str

    def describe(self) -> str:
        """One line for people."""
        return f"restart {', '.join(self.components)}"

    async def execute(self, world: World) -> None:
        """Does it."""
        await world.restart_components(self.components, self.revision)


@dataclass(frozen=True)
class PutAway:
    """Takes the static pods' manifests out of the kubelet's sight."""

    def describe(self) -> str:
        """One line for people."""
        return "put the manifests of etcd and the control plane away"

    async def execute(self, world: World) -> None:
        """Does it."""
        await world.put_away()


@dataclass(frozen=True)
class EndProcesses:
    """Ends etcd and the control plane, which nothing starts again while the kubelet is down."""

    def describe(self) -> str:
        """One line for people."""
        return "end etcd and the control plane"

    async def execute(self, world: World) -> None:
        """Does it."""
        await world.end_processes()


@dataclass(frozen=True)
class FreeTurn:
    """Deletes the Lease of whose turn it is to join: a snapshot brings that of its own time."""

    def describe(self) -> str:
        """One line for people."""
        return "delete the Lease galley-join"

    async def execute(self, world: World) -> None:
        """Does it."""
        await world.free_turn()


@dataclass(frozen=True)
class Mark:
    """Writes the marker ahead; None takes it away, which is the last step of a reset."""

    marker: Marker | None

    def describe(self) -> str:
        """One line for people."""
        if self.marker is None:
            return "forget the cluster"
        return f"note: {self.marker.role} of {self.marker.site}, epoch {self.marker.epoch}, begins"

    async def execute(self, world: World) -> None:
        """Does it."""
        await world.mark(self.marker)


@dataclass(frozen=True)
class Finish:
    """Waits for the own API server and notes that this node is of the cluster."""

    marker: Marker

    def describe(self) -> str:
        """One line for people."""
        return f"note: {self.marker.role} of {self.marker.site}, epoch {self.marker.epoch}, is done"

    async def execute(self, world: World) -> None:
        """Does it."""
        await world.finish(self.marker)


@dataclass(frozen=True)
class WaitNode:
    """Waits for a Node to be Ready in a version (empty: in any)."""

    node: str
    version: str = ""

    def describe(self) -> str:
        """One line for people."""
        return f"wait until {self.node} is Ready{' in ' + self.version if self.version else ''}"

    async def execute(self, world: World) -> None:
        """Does it."""
        await world.wait_node(self.node, self.version)


@dataclass(frozen=True)
class RemoveEtcdMember:
    """Takes a member out of etcd. `name` is for people."""

    name: str
    member: int

    def describe(self) -> str:
        """One line for people."""
        return f"remove etcd member {self.name} ({self.member:x})"

    async def execute(self, world: World) -> None:
        """Does it."""
        await world.remove_etcd_member(self.member)


@dataclass(frozen=True)
class DeleteNode:
    """Deletes a Node; its Lease and pods go with it."""

    node: str

    def describe(self) -> str:
        """One line for people."""
        return f"delete Node {self.node}"

    async def execute(self, world: World) -> None:
        """Does it."""
        await world.delete_node(self.node)


Step = (
    MakeEtcd
    | Run
    | Write
    | Remove
    | Link
    | NameAddress
    | RestartComponents
    | PutAway
    | EndProcesses
    | FreeTurn
    | Mark
    | Finish
    | WaitNode
    | RemoveEtcdMember
    | DeleteNode
)
