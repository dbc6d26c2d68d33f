"""The `synthetic-client` command: reads the scenario, builds the steps' adapters, hands the loops to the supervisor."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from agents.contracts.ids import Stream, node_id
from agents.core.errors import ConfigError
from agents.core.grid import spread
from agents.core.settings import Settings
from agents.io.identity import SocketIdentity
from agents.io.outbox import SqliteOutbox
from agents.io.state import StateFile
from agents.io.uplink import HttpUplink, LogOnlySender, Sender
from agents.supervise.daemon import Context, DaemonSpec, Loop, run_daemon
from synthetic_client.loop import Reporter, StepLoop
from synthetic_client.place import Place, Whereabouts
from synthetic_client.reading import read_scenario
from synthetic_client.scenario import BadScenario, Cloud, Http, Kubernetes, Mqtt, Scenario, Step
from synthetic_client.settings import SyntheticSettings
from synthetic_client.steps.base import Runner
from synthetic_client.steps.kubernetes import Api
from synthetic_client.tally import Tally


def check(settings: Settings[SyntheticSettings]) -> list[str]:
    """All of the scenario's problems, each with its line."""
    try:
        _scenario(settings.own)
    except ConfigError as error:
        return error.problems
    return []


def _scenario(own: SyntheticSettings) -> Scenario:
    try:
        return read_scenario(Path(own.scenario))
    except BadScenario as error:
        raise ConfigError([f"synthetic_client.scenario: {problem}" for problem in error.problems]) from None


async def build(context: Context[SyntheticSettings]) -> Sequence[Loop]:
    """Local work alone. Raises ConfigError with all of the scenario's problems."""
    own, clock = context.settings.own, context.clock
    scenario = _scenario(own)
    machine = context.machine.facts()
    identity = SocketIdentity(own.identity_socket or str(context.run_dir / "identity.sock"), clock=clock)
    context.stack.push_async_callback(identity.aclose)
    outbox = await SqliteOutbox.open(
        context.state_dir / "outbox.db",
        Stream.SYNTHETIC,
        machine.boot_id,
        clock,
        max_rows=own.outbox_rows,
        max_bytes=own.outbox_bytes,
    )
    context.stack.push_async_callback(outbox.aclose)
    place = Whereabouts(identity, StateFile(context.state_dir / "place.json", Place), outbox)
    steps = _steps(context, scenario, identity, place, node_id(machine.hardware_id))
    reporter = Reporter(
        scenario=scenario.scenario,
        steps=steps,
        outbox=outbox,
        grid=spread(f"{machine.hardware_id} report", scenario.report_seconds),
        clock=clock,
        health=context.health,
        metrics=context.metrics,
        log=context.log,
    )
    context.health.set("scenario", True, f"{scenario.scenario}: {len(steps)} steps")
    return [
        *(Loop(f"step {step.tally.step}", step.run) for step in steps),
        Loop("report", reporter.run),
        Loop("send", _sender(context, outbox, identity).run, patient=True),
    ]


def _steps(
    context: Context[SyntheticSettings], scenario: Scenario, identity: SocketIdentity, place: Whereabouts, node: str
) -> list[StepLoop]:
    steps: list[StepLoop] = []
    for step in scenario.steps:
        runner = _runner(step, scenario, context, identity, place)
        context.stack.push_async_callback(runner.aclose)
        steps.append(
            StepLoop(
                runner,
                Tally(step.name, str(type(step).__struct_config__.tag)),
                timeout=step.timeout_seconds,
                grid=spread(f"{node} {step.name}", scenario.interval_seconds),
                clock=context.clock,
                log=context.log,
            )
        )
    return steps


def _runner(
    step: Step,
    scenario: Scenario,
    context: Context[SyntheticSettings],
    identity: SocketIdentity,
    place: Callable[[], Awaitable[Place]],
) -> Runner:
    """The step's adapter. Those with heavy libraries are only imported where the scenario names them."""
    match step:
        case Http():
            from synthetic_client.steps.http import HttpRunner

            return HttpRunner(step, context.clock)
        case Cloud():
            from synthetic_client.steps.cloud import CloudRunner

            return CloudRunner(step, context.settings.endpoint, identity, context.clock)
        case Kubernetes():
            from synthetic_client.steps.kubernetes import KubernetesRunner

            return KubernetesRunner(step, scenario.scenario, lambda: _kube(step), context.clock)
        case Mqtt():
            from synthetic_client.steps.mqtt import MqttRunner

            return MqttRunner(step, place, context.clock)


async def _kube(step: Kubernetes) -> Api:
    from agents.io.kube import Kube

    kubeconfig = Path(step.kubeconfig) if step.kubeconfig else None
    return await Kube.connect(kubeconfig=kubeconfig, user_agent="galley-synthetic-client")


def _sender(
    context: Context[SyntheticSettings], outbox: SqliteOutbox, identity: SocketIdentity
) -> Sender | LogOnlySender:
    gauge = context.metrics.gauge("galley_uplink_ok", "1 while batches reach the cloud.")

    def say(ok: bool, text: str) -> None:
        gauge.set(ok)
        context.health.set("uplink", True, text if ok else f"queues: {text}")

    if context.settings.endpoint is None:
        return LogOnlySender(outbox, log=context.log, say=say)
    uplink = HttpUplink(context.settings.endpoint, identity.token, refused=identity.refused, clock=context.clock)
    context.stack.push_async_callback(uplink.aclose)
    return Sender(outbox, uplink, log=context.log, say=say)


SPEC = DaemonSpec("synthetic-client", "synthetic_client", SyntheticSettings, build, check)


def main() -> int:
    """Entry point."""
    return run_daemon(SPEC)


if __name__ == "__main__":
    sys.exit(main())
