"""One of three writes: a writer that stops is replaced, and one that comes back late writes nothing."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any


def holder(slate: Any) -> str:
    return str(slate.get("lease", "vessel", "galley-system")["spec"]["holderIdentity"])


async def test_a_frozen_writer_is_replaced_and_does_not_write_when_it_thaws(slate: Any) -> None:
    slate.repo.commit(
        {
            "apps/web/app.yaml": slate.app(),
            "apps/web/all.yaml": slate.namespace() + "---\n" + slate.config_map("m", size="1"),
        },
        "first",
    )
    one = slate.vessel("one").start()
    await one.wait_report(app="*", phase="healthy")
    two = slate.vessel("two").start()
    await two.wait(lambda: any(e["event"] == "ready" for e in two.events()), "ready")
    first = slate.repo.head()
    await two.wait(
        lambda: list(two.state.glob("known.json")) and first in (two.state / "known.json").read_text(), "fetched"
    )
    assert two.reports() == []
    assert holder(slate) == one.folder.name

    one.program.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        await two.wait(lambda: holder(slate) == two.folder.name, "taken over", seconds=40)
        assert 10 < time.monotonic() - began < 25
        second = slate.repo.commit(
            {"apps/web/all.yaml": slate.namespace() + "---\n" + slate.config_map("m", size="2")}, "second"
        )
        await two.wait_report(app="*", phase="healthy", revision=second)
        assert slate.get("configmap", "m")["data"] == {"size": "2"}
        slate.site.kubectl("annotate", "configmap", "m", "-n", slate.ns, "x=y")
    finally:
        mark = slate.site.audit_mark()
        one.program.signal(signal.SIGCONT)
    slate.site.kubectl("patch", "configmap", "m", "-n", slate.ns, "-p", '{"data":{"size":"3"}}')
    await two.wait(lambda: slate.get("configmap", "m")["data"] == {"size": "2"}, "undone by the new writer", seconds=10)
    await asyncio.sleep(6)
    assert holder(slate) == two.folder.name
    patches = [c for c in slate.site.audit_calls(since=mark) if c.verb == "patch" and c.user_agent == "galley-vessel"]
    assert len(patches) == 1, patches
    assert not [e for e in one.events() if e.get("phase") == "healthy" and e.get("revision") == second]


async def test_a_stopped_writer_hands_over_at_once(slate: Any) -> None:
    slate.repo.commit({"apps/web/app.yaml": slate.app(), "apps/web/all.yaml": slate.namespace()}, "first")
    one = slate.vessel("one").start()
    await one.wait_report(app="*", phase="healthy")
    two = slate.vessel("two").start()
    await two.wait(lambda: any(e["event"] == "ready" for e in two.events()), "ready")
    await asyncio.to_thread(one.stop)
    assert one.program.returncode == 0
    await two.wait(lambda: holder(slate) == two.folder.name, "taken over", seconds=8)


async def test_a_writer_frozen_amid_its_writes_sends_none_but_the_one_under_its_hand_when_it_thaws(slate: Any) -> None:
    def files(size: str) -> dict[str, str]:
        return {f"apps/web/m{n}.yaml": slate.config_map(f"m{n}", size=size) for n in range(200)}

    def written(since: int) -> list[Any]:
        return [
            call
            for call in slate.site.audit_calls(since=since)
            if call.user_agent == "galley-vessel"
            and call.verb in ("create", "update", "patch", "delete")
            and call.resource != "leases.coordination.k8s.io"
            and not call.dry_run
        ]

    slate.site.kubectl("create", "namespace", slate.ns)
    mark = slate.site.audit_mark()
    slate.repo.commit({"apps/web/app.yaml": slate.app(), **files("1")}, "first")
    one = slate.vessel("one").start()
    await one.wait(lambda: len(written(mark)) > 20, "amid its writes")
    one.program.signal(signal.SIGSTOP)
    frozen = time.monotonic()
    try:
        left = len([name for name in slate.names() if name.startswith("configmap/m")])
        assert 0 < left < 200
        two = slate.vessel("two").start()
        await two.wait(lambda: holder(slate) == two.folder.name, "taken over", seconds=40)
        second = slate.repo.commit(files("2"), "second")
        await two.wait_report(app="*", phase="healthy", revision=second)
        await asyncio.sleep(max(0.0, 20 - (time.monotonic() - frozen)))
    finally:
        mark = slate.site.audit_mark()
        one.program.signal(signal.SIGCONT)
    stopped = ("no longer the writer", "tries again")  # the lease first, or the answers that came too late
    await one.wait(lambda: [e for e in one.events() if e["event"] in stopped], "stopped writing", seconds=20)
    await asyncio.sleep(5)
    late = written(mark)
    # docs/decisions/0017: it may have been stopped with one request between its check and the socket.
    assert len({call.name for call in late}) <= 1, "more than the one request that was under its hand"
    assert len(late) in (0, 2), "the one that slept wrote, and the writer put it back; or nothing at all"
    assert len(two.reports(app="web", phase="repaired")) == len(late) // 2
    sizes = slate.site.kubectl("get", "configmaps", "-n", slate.ns, "-o", "jsonpath={.items[*].data.size}").split()
    assert sizes == ["2"] * 200
    assert holder(slate) == two.folder.name
    assert one.program.running
