"""Subscriptions never end by what a server answers; a bug in one is not silent. The server is a script of answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agents.core.ports import ApiProblem
from agents.io.kube import Event, KubeRejected, Listed, Resource
from tests.fakes.clock import VirtualClock
from vessel.mirror import Mirror

MAPS = Resource("v1", "ConfigMap", "configmaps", True)
ACCOUNT = "galley-system/atlas-admin"


def rejected(status: int) -> KubeRejected:
    return KubeRejected(ApiProblem(status=status, reason="", message=f"answers {status}"))


def config_map(version: int, **more: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "ns", "name": "m", "uid": "u", "resourceVersion": str(version)}, **more}


class ScriptedKube:
    """Lists by `answer`; a watch stays open until something is put into `events`: an event, or an error."""

    def __init__(self) -> None:
        self.answer: list[dict[str, Any]] | Exception = []
        self.events: asyncio.Queue[Event | Exception] = asyncio.Queue()
        self.lists = 0

    def acting_as(self, user: str | None) -> ScriptedKube:
        return self

    async def list(self, resource: Resource, namespace: str = "", *, selector: str = "") -> Listed:
        self.lists += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return Listed(self.answer, "1")

    async def watch(self, *_: Any, **__: Any) -> AsyncIterator[Event]:
        while True:
            event = await self.events.get()
            if isinstance(event, Exception):
                raise event
            yield event


def mirror_of(kube: ScriptedKube, clock: VirtualClock) -> Mirror:
    return Mirror(kube, clock, lambda low, high: high, asyncio.Event())  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_refused_watch_is_opened_again(status: int) -> None:
    kube, clock = ScriptedKube(), VirtualClock()
    mirror = mirror_of(kube, clock)
    await mirror.follow([(ACCOUNT, MAPS, "ns")])
    assert mirror.trouble == ""
    kube.answer = rejected(status)
    kube.events.put_nowait(rejected(status))
    await clock.advance(20)
    assert str(status) in mirror.trouble
    assert kube.lists >= 6  # fast at first
    tried = kube.lists
    await clock.advance(3600)
    assert 110 <= kube.lists - tried <= 130  # and every 30 s then
    mirror.changed.clear()
    kube.answer = [config_map(7)]
    await clock.advance(31)
    assert mirror.trouble == ""
    assert mirror.changed.is_set()
    assert mirror.look(ACCOUNT, MAPS, ("", "ConfigMap", "ns", "m")) is not None
    await mirror.aclose()


async def test_a_status_of_another_shape_is_data() -> None:
    kube, clock = ScriptedKube(), VirtualClock()
    mirror = mirror_of(kube, clock)
    await mirror.follow([(ACCOUNT, MAPS, "ns")])
    kube.events.put_nowait(Event("MODIFIED", config_map(8, status="running", spec=[1])))
    kube.events.put_nowait(Event("MODIFIED", config_map(9, status={"conditions": "none", "observedGeneration": []})))
    await clock.settle()
    seen = mirror.look(ACCOUNT, MAPS, ("", "ConfigMap", "ns", "m"))
    assert seen is not None
    assert seen.resource_version == "9"
    assert seen.health.done
    await mirror.aclose()


async def test_a_bug_in_a_watch_reaches_who_uses_it() -> None:
    kube, clock = ScriptedKube(), VirtualClock()
    mirror = mirror_of(kube, clock)
    await mirror.follow([(ACCOUNT, MAPS, "ns")])
    mirror.changed.clear()
    kube.events.put_nowait(ZeroDivisionError("a bug"))
    await clock.settle()
    assert mirror.changed.is_set()
    with pytest.raises(ZeroDivisionError):
        _ = mirror.trouble
    with pytest.raises(ZeroDivisionError):
        mirror.look(ACCOUNT, MAPS, ("", "ConfigMap", "ns", "m"))
    await mirror.aclose()


async def test_a_bug_in_the_first_list_does_not_wait_for_ever() -> None:
    kube, clock = ScriptedKube(), VirtualClock()
    kube.answer = ZeroDivisionError("a bug")
    mirror = mirror_of(kube, clock)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(mirror.follow([(ACCOUNT, MAPS, "ns")]), 5)
    await mirror.aclose()
