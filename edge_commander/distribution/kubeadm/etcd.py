"""etcd's members, health and snapshots, through etcdctl. Runs that program.

Every call is bounded. Its answers are JSON; what it writes to stderr becomes the error's text.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import msgspec

from agents.core.errors import Retryable
from edge_commander.distribution.kubeadm.facts import EtcdMember

Command = Callable[..., Awaitable[str]]
SECONDS = 20.0
SNAPSHOT_SECONDS = 300.0


@dataclass(frozen=True)
class Access:
    """Where etcd listens, and the files with which we are let in."""

    endpoints: Sequence[str]
    ca: str
    cert: str
    key: str

    def arguments(self) -> tuple[str, ...]:
        """Of etcdctl."""
        return ("--endpoints", ",".join(self.endpoints), "--cacert", self.ca, "--cert", self.cert, "--key", self.key,
                "--dial-timeout=3s", "--command-timeout=10s", "-w", "json")  # fmt: skip


class _Member(
    msgspec.Struct, rename={"ident": "ID", "peers": "peerURLs", "clients": "clientURLs", "learner": "isLearner"}
):
    ident: int
    name: str = ""
    peers: list[str] = []
    clients: list[str] = []
    learner: bool = False


class _Members(msgspec.Struct):
    members: list[_Member]


class _Health(msgspec.Struct):
    endpoint: str
    health: bool


class Etcd:
    """One etcd cluster. `run`: runs a program in bounded time (World.run)."""

    def __init__(self, program: str, run: Command, access: Access) -> None:
        self._program = program
        self._run = run
        self._access = access

    async def members(self) -> list[EtcdMember]:
        """Its members, as the quorum says. Raises Retryable when it does not answer."""
        return _members(await self._ask("member", "list", "--consistency=l"))

    async def healthy(self, members: Sequence[EtcdMember]) -> list[str]:
        """The names of those members that commit. Never raises for one that does not: it is left out."""
        endpoints = {one.clients[0]: one.name for one in members if one.clients}
        if not endpoints:
            return []
        access = Access(list(endpoints), self._access.ca, self._access.cert, self._access.key)
        answer = await self._run(
            self._program, *access.arguments(), "endpoint", "health", seconds=SECONDS, failing_is_an_answer=True
        )
        return _healthy(answer, endpoints)

    async def remove(self, member: int) -> None:
        """Takes a member out; nothing when it is not in. Raises Retryable."""
        if any(one.ident == member for one in await self.members()):
            await self._ask("member", "remove", f"{member:x}")

    async def save(self, path: str) -> None:
        """Writes a snapshot of the first endpoint's data to a file. Raises Retryable."""
        access = Access(self._access.endpoints[:1], self._access.ca, self._access.cert, self._access.key)
        arguments = [one for one in access.arguments() if not one.startswith("--command-timeout")]
        await self._run(self._program, *arguments, "snapshot", "save", path, seconds=SNAPSHOT_SECONDS)

    async def _ask(self, *arguments: str) -> str:
        return await self._run(self._program, *self._access.arguments(), *arguments, seconds=SECONDS)


def _members(answer: str) -> list[EtcdMember]:
    try:
        found = msgspec.json.decode(answer, type=_Members).members
    except msgspec.MsgspecError:
        raise Retryable("etcdctl: the list of members is malformed") from None
    return [EtcdMember(one.ident, one.name, tuple(one.peers), tuple(one.clients), one.learner) for one in found]


def _healthy(answer: str, endpoints: dict[str, str]) -> list[str]:
    """Reads the JSON line among what etcdctl says; it also logs."""
    for line in answer.splitlines():
        if line.startswith("["):
            try:
                found = msgspec.json.decode(line, type=list[_Health])
            except msgspec.MsgspecError:
                continue
            return sorted(endpoints[one.endpoint] for one in found if one.health and one.endpoint in endpoints)
    return []
