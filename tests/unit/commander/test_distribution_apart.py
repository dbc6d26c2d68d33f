"""The commander's half and the root half of a distribution, over a real unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.core.errors import Rejected, Retryable
from edge_commander.distribution.apart import Apart
from edge_commander.distribution.port import ClusterHealth, ClusterMember, ClusterPlan, Operation, Snapshot
from edge_commander.distribution.wire import ASKED, Ask, problem
from edge_commander.halves.answer import Answer, Family
from tests.fakes.formation_world import secrets_of

PLAN = ClusterPlan(
    site="store-1",
    epoch=3,
    node="nuc-1",
    servers=("10.0.0.2",),
    address="10.0.0.1",
    secrets=secrets_of("store-1", 3, 7),
)


def changed(**parts: Any) -> Ask:
    return Ask(operation="join", plan=replace(PLAN, **parts))


class Observer:
    async def members(self) -> list[ClusterMember]:
        return [ClusterMember(name="nuc-1", ready=True, server=True)]

    async def health(self) -> ClusterHealth:
        return ClusterHealth(api=True)

    async def aclose(self) -> None:
        pass


@asynccontextmanager
async def served(tmp_path: Path, answer: Callable[[Ask], bytes]) -> AsyncIterator[tuple[Any, list[Ask]]]:
    asked: list[Ask] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(msgspec.json.decode(await reader.read(), type=Ask))
        writer.write(answer(asked[-1]))
        writer.close()

    server = await asyncio.start_unix_server(serve, str(tmp_path / "s"))
    try:
        yield Apart("kubeadm", tmp_path / "s", Observer()), asked  # type: ignore[arg-type]
    finally:
        server.close()


def done(value: Any = None) -> Callable[[Ask], bytes]:
    return lambda ask: msgspec.json.encode(Answer(family=Family.DONE, value=value))


async def test_each_operation_arrives_whole_and_what_is_read_needs_no_root(tmp_path: Path) -> None:
    async with served(tmp_path, done("/var/snap")) as (apart, asked):
        await apart.init(PLAN)
        await apart.join(PLAN)
        await apart.remove("nuc-2")
        assert await apart.snapshot("nightly") == "/var/snap"
        await apart.restore("/var/snap", PLAN)
        await apart.rotate()
        await apart.upgrade("1.36.3")
        await apart.reset()
        await apart.stop()
        with pytest.raises(Retryable, match="the list of snapshots is malformed"):
            await apart.snapshots()
        await apart.settle(PLAN)
        await apart.images()
        with pytest.raises(Retryable, match="without an answer"):
            await apart.pull("docker.io/library/a:1")
        assert (await apart.health()).api and len(await apart.members()) == 1
    assert len(asked) == 13
    assert [problem(ask) for ask in asked] == [""] * len(asked)
    assert {ask.operation for ask in asked} == ASKED - {Operation.MEMBERS, Operation.HEALTH}
    assert asked[0].plan is not None and asked[0].plan.secrets == PLAN.secrets
    assert tuple(asked[0].plan.servers) == ("10.0.0.2",)
    assert "token" not in repr(asked[0]) and "7" * 3 not in repr(asked[0])


async def test_snapshots_come_back_as_they_are_with_the_secrets_that_they_need(tmp_path: Path) -> None:
    there = [Snapshot("/keep/a", "store-1", 1, 1_700_000_000, 70, 4096), Snapshot("/keep/b", "store-1", 1, 5)]
    there.append(replace(there[1], path="/keep/k3s", secrets=PLAN.secrets))
    async with served(tmp_path, done(msgspec.to_builtins(there))) as (apart, _):
        assert await apart.snapshots() == there


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (Answer(family=Family.RETRY, text="not yet"), Retryable, "not yet"),
        (Answer(family=Family.REFUSED, text="another epoch"), Rejected, "another epoch"),
        (b"", Retryable, "without an answer"),
        (b"{", Retryable, "without an answer"),
    ],
)
async def test_how_it_ends(tmp_path: Path, answer: Answer | bytes, error: type[Exception], text: str) -> None:
    data = answer if isinstance(answer, bytes) else msgspec.json.encode(answer)
    async with served(tmp_path, lambda ask: data) as (apart, _):
        with pytest.raises(error, match=text):
            await apart.init(PLAN)


async def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(Retryable, match="FileNotFoundError"):
        await Apart("kubeadm", tmp_path / "none", Observer()).rotate()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ask", "text"),
    [
        (Ask(operation="sh"), "no such operation"),
        (Ask(operation="aclose"), "no such operation"),
        (Ask(operation="__init__"), "no such operation"),
        (Ask(operation="init"), "init takes a plan"),
        (Ask(operation="reset", argument="x"), "reset takes no argument"),
        (Ask(operation="remove"), "remove takes a member's name"),
        (Ask(operation="rotate", plan=changed(epoch=0).plan), "the plan names no site or no epoch"),
        (Ask(operation="snapshot", argument="x", plan=PLAN), "snapshot takes no plan"),
        (Ask(operation="remove", argument="../../kube-system?"), "remove takes a member's name, such as nuc-1"),
        (Ask(operation="remove", argument="nuc-1\n"), "remove takes a member's name, such as nuc-1"),
        (changed(site="../store"), "the plan names no site or no epoch"),
        (changed(epoch=0), "the plan names no site or no epoch"),
        (changed(node="nuc-1 registry.example"), "the plan's node is no Node's name"),
        (changed(address="10.0.0.1\n10.9.9.9 registry.example"), "one of the plan's addresses is none"),
        (changed(servers=("10.0.0.2", "10.0.0.3/x")), "one of the plan's addresses is none"),
    ],
)
def test_what_is_not_in_the_closed_list_is_refused(ask: Ask, text: str) -> None:
    assert problem(ask) == text
