"""What a node takes in which state, through the loop that pulls commands; and how many operators it asks for."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from test_commander_commands import OPERATOR, Bench

from agents.contracts.command import Command, Verb
from agents.contracts.messages import NodeState
from agents.core.command_verify import CommandKeys, sign_command
from agents.core.jose import SoftwareKey, thumbprint
from edge_commander.verbs import Handler, Outcome

SECOND, RETIRED = SoftwareKey.generate("Ed25519"), SoftwareKey.generate("Ed25519")
ANYWHERE = {NodeState.ASSIGNED, NodeState.FORMING, NodeState.READY}
TAKEN: dict[str, set[NodeState]] = {
    "sync": ANYWHERE, "collect-diagnostics": ANYWHERE, "reboot": ANYWHERE, "wipe": ANYWHERE, "retire": ANYWHERE,
    "snapshot": {NodeState.READY}, "rejoin": {NodeState.READY}, "upgrade": ANYWHERE,
    "rotate": {NodeState.READY},
}  # fmt: skip
TARGETS = {"wipe": ["var"], "retire": ["ident"]}


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    done: list[str] = []

    async def execute(command: Command) -> Outcome:
        done.append(command.verb.value)
        return Outcome("done", "")

    bench = Bench(tmp_path, {verb: Handler(execute, repeatable=True) for verb in Verb})
    bench.done = done  # type: ignore[attr-defined]
    await bench.reporter.bring_up_to_date()
    return bench


async def test_every_verb_in_every_state(bench: Bench) -> None:
    """Refused by its state, a command is audited and answered, its sequence is spent, and nothing is done."""
    sequence = 0
    for verb in Verb:
        for state in NodeState:
            bench.memory.save_record(msgspec.structs.replace(bench.memory.record, state=NodeState.READY))
            await bench.reporter.bring_up_to_date()  # challenges are published where commands may come
            sequence += 1
            signed = sign_command(bench.command(sequence, verb, targets=TARGETS.get(verb.value, [])), [OPERATOR])
            bench.memory.save_record(msgspec.structs.replace(bench.memory.record, state=state))
            bench.done.clear()  # type: ignore[attr-defined]
            with structlog.testing.capture_logs() as log:
                await bench.loop.handle(signed)
            last = bench.results[-1]
            assert bench.memory.ledger.consumed == sequence and last.command_id == f"{sequence:032x}"
            if state in TAKEN[verb.value]:
                assert (last.outcome, bench.done) == ("done", [verb.value])  # type: ignore[attr-defined]
                continue
            assert (last.outcome, bench.done) == ("refused", [])  # type: ignore[attr-defined]
            assert last.detail.startswith(f"state: {verb.value} is refused")
            line = next(one for one in log if one["event"] == "command refused")
            assert (line["audit"], line["code"], line["id"]) == (True, "state", last.command_id)


@pytest.mark.parametrize(
    ("verb", "changed", "needed"),
    [
        ("sync", {}, 0),
        ("reboot", {}, 0),
        ("wipe", {"targets": ["var", "conf"]}, 1),
        ("rejoin", {}, 1),
        ("upgrade", {}, 1),
        ("rotate", {}, 1),
        ("wipe", {"targets": ["keep"]}, 2),
        ("wipe", {"targets": ["var"], "args": {"rebuild": "yes"}}, 2),
        ("retire", {"targets": ["ident", "var"]}, 2),
    ],
)
async def test_the_document_says_how_many_must_sign(
    bench: Bench, verb: str, changed: dict[str, Any], needed: int
) -> None:
    """Threshold 2; the third key is retired, so it is none of those that count."""
    endpoint = SoftwareKey.generate()
    keys = CommandKeys(
        operators={thumbprint(one.public): one.public for one in (OPERATOR, SECOND)},
        endpoint={thumbprint(endpoint.public): endpoint.public},
        threshold=2,
    )
    parts = bench.loop.parts
    object.__setattr__(parts, "keys", lambda: keys)
    signers = [[endpoint], [OPERATOR], [OPERATOR, OPERATOR], [OPERATOR, RETIRED], [OPERATOR, SECOND]]
    counts = [0, 1, 1, -1, 2]
    for number, (who, count) in enumerate(zip(signers, counts, strict=True), 1):
        bench.done.clear()  # type: ignore[attr-defined]
        one = bench.command(number * 10, Verb(verb), **changed)
        await bench.loop.handle(sign_command(one, who))
        last = bench.results[-1]
        if count >= needed:
            assert (last.outcome, bench.done) == ("done", [verb])  # type: ignore[attr-defined]
        else:
            assert (last.outcome, bench.done) == ("refused", [])  # type: ignore[attr-defined]
            assert last.detail.startswith("threshold:" if count > 0 else "signature:")
            assert bench.memory.ledger.consumed < number * 10
