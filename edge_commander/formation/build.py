"""Builds formation's adapters out of a daemon's context; for nodes whose cluster is formed here, nobody else pays."""

from __future__ import annotations

import random
from pathlib import Path

from agents.contracts.election import InitAsk, InitGrant
from agents.supervise.daemon import Context, Loop, Pulse
from edge_commander.cloud import Cloud
from edge_commander.distribution.apart import Apart
from edge_commander.distribution.choice import holds
from edge_commander.election.box import BallotBox
from edge_commander.formation.assemble import Formation, Means
from edge_commander.formation.keeping import SnapshotKeeping
from edge_commander.keystore import ChosenKeyStore
from edge_commander.settings import CommanderSettings
from edge_commander.times import Times
from edge_commander.tokens import Tokens


def build(
    context: Context[CommanderSettings],
    *,
    distribution: Apart,
    box: BallotBox,
    keys: ChosenKeyStore,
    times: Times,
    cloud: Cloud | None,
    tokens: Tokens | None,
) -> tuple[Formation, SnapshotKeeping, list[Loop]]:
    """The formation, who takes snapshots, and the loops of both: one answers siblings."""
    own = context.settings.own

    async def grant(asked: InitAsk) -> InitGrant:
        assert cloud is not None and tokens is not None
        return await tokens.with_bearer(lambda token: cloud.init_grant(token, asked))

    formation = Formation(
        Means(
            listener=own.siblings,
            ident=Path(own.keys_dir),
            state_dir=context.state_dir,
            run_dir=context.run_dir,
            box=box,
            distribution=distribution,
            overlap_hours=own.distribution.overlap_hours,
            clock=context.clock,
            times=times,
            grant=grant if cloud is not None and tokens is not None else None,
            floor=keys.floor,
            uniform=random.uniform,
            log=context.log,
            holds=lambda version: holds(own.distribution, version),
            upgrades=own.upgrades,
            hints_file=own.hints_file,
        )
    )
    context.stack.push_async_callback(formation.aclose)

    async def serve(pulse: Pulse) -> None:
        await formation.serve(pulse, lambda ok, text: context.health.set("siblings", ok, text))

    keeping = SnapshotKeeping(
        distribution,
        context.clock,
        seconds=own.snapshot_seconds,
        member=lambda: formation.member,
        uniform=random.uniform,
        log=context.log,
    )
    return formation, keeping, [Loop("siblings", serve), Loop("snapshots", keeping.run)]
