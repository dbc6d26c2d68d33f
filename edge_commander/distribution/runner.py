"""The root half of a distribution: one operation a process, asked over `/run/galley/distribution.sock`.

How it is served: halves/serve.py. What may be asked: wire.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from agents.core.proxy import environment
from agents.io.clock import SystemClock
from edge_commander.distribution.choice import connect, make
from edge_commander.distribution.port import Distribution, Operation
from edge_commander.distribution.settle import settle
from edge_commander.distribution.wire import ARGUMENTS, IMAGES, PULL, SETTLE, Ask, problem
from edge_commander.halves.answer import Answer, refused
from edge_commander.halves.serve import Configuration, asked, ended, say, serve
from edge_commander.images.settings import PrepullSettings
from edge_commander.settings import DistributionSettings


def main(argv: Sequence[str] | None = None) -> int:
    """Serves one connection, handed over as descriptor 0."""
    return serve("edge_commander.distribution.runner", answer, argv)


def answer(data: bytes, configured: Callable[[], Configuration]) -> Answer:
    """Judges one request, and carries it out. Raises Rejected where the configuration cannot be read."""
    ask = asked(data, Ask, problem)
    if isinstance(ask, Answer):
        return ask
    configuration = configured()
    own = configuration.own
    settings = own.distribution
    if text := elsewhere(ask, settings):
        return refused(text)
    say(f"asked: {ask!r}")
    return carry_out(
        ask,
        settings,
        lambda: make(settings, Path(own.keys_dir), SystemClock(), say=say),
        own.prepull,
        environment(configuration.endpoint),
    )


def elsewhere(ask: Ask, settings: DistributionSettings) -> str:
    """Why a snapshot may not be restored over this socket; empty when it may. Root reads only what root saved: any
    other path could be a folder of the asker's, a device, or changed between its check and its use."""
    if ask.operation != Operation.RESTORE:
        return ""
    if settings.kind == "k3s":
        from edge_commander.distribution.k3s.config import snapshots

        folder = snapshots(settings.k3s)
    else:
        folder = settings.kubeadm.snapshots_dir
    named = Path(ask.argument)
    if named.parent == Path(folder) and named.name not in ("", "..") and "\0" not in ask.argument:
        return ""
    return f"restore takes a snapshot in {folder}"


def carry_out(
    ask: Ask,
    settings: DistributionSettings,
    distribution: Callable[[], Distribution],
    prepull: PrepullSettings | None = None,
    proxy: Mapping[str, str] = MappingProxyType({}),
) -> Answer:
    """Runs one checked request; the two families become the answer, anything else is a crash. `proxy`: variables that
    name the site's own, for pulls."""
    return ended(ask.operation, _run(ask, settings, distribution, prepull, proxy))


async def _run(
    ask: Ask,
    settings: DistributionSettings,
    distribution: Callable[[], Distribution],
    prepull: PrepullSettings | None,
    proxy: Mapping[str, str],
) -> Any:
    if ask.operation in (IMAGES, PULL):
        return await _of_containerd(ask, settings, prepull or PrepullSettings(), {**os.environ, **proxy})
    if ask.operation == SETTLE:
        assert ask.plan is not None
        return await settle(ask.plan, settings, connect)
    return await perform(distribution(), ask)


async def _of_containerd(
    ask: Ask, settings: DistributionSettings, prepull: PrepullSettings, environ: Mapping[str, str]
) -> Any:
    from edge_commander.images.puller import Puller
    from edge_commander.images.runtime import runtime_of

    lock = Path(settings.access_dir) / "pull.lock"
    puller = Puller(runtime_of(settings, prepull), prepull, SystemClock(), lock=lock, say=say, environ=environ)
    return await (puller.images() if ask.operation == IMAGES else puller.pull(ask.argument))


async def perform(one: Distribution, ask: Ask) -> Any:
    """One checked operation of the port, whose connections are closed afterwards; its answer."""
    arguments: list[object] = [ask.argument] if ask.operation in ARGUMENTS else []
    if ask.plan is not None:
        arguments.append(ask.plan)
    try:
        return await getattr(one, ask.operation)(*arguments)
    finally:
        await one.aclose()


if __name__ == "__main__":
    sys.exit(main())
