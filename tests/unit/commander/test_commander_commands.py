"""Commands: taken, done, answered; what is refused; and a power cut at every durable step."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from commander_fakes import FakeClock, FakeCloud, FakeOutbox

from agents.contracts.command import Command, SignedCommand, Verb
from agents.contracts.identity import Member, SiteDocument
from agents.contracts.messages import Alert, Challenge, CommandResult, NodeState
from agents.core.command_verify import sign_command
from agents.core.errors import GalleyError, Retryable
from agents.core.jose import SoftwareKey, encode64, thumbprint
from edge_commander.commands import CommandLoop, CommandParts
from edge_commander.ledger import IssuedChallenge, Ledger, republished
from edge_commander.memory import Memory
from edge_commander.operators import command_keys, read_operators
from edge_commander.reasons import NodeRecord
from edge_commander.report import Reporter
from edge_commander.times import Times
from edge_commander.tokens import Tokens
from edge_commander.verbs import Handler, Outcome, handlers, run

NODE, SITE = "n-abcdefghij234567", "store-1"
ENDPOINT, OPERATOR, STRANGER = SoftwareKey.generate(), SoftwareKey.generate("Ed25519"), SoftwareKey.generate()


class PowerCut(BaseException):
    """Nothing after it happens."""


RELEASE = {"version": "1.4.0", "sha256": "0a" * 32, "address": "https://images.example/1.4.0"}


class Bench:
    def __init__(self, directory: Path, table: dict[Verb, Handler] | None = None) -> None:
        self.directory, self.run_dir = directory / "ident", directory / "run"
        self.directory.mkdir()
        self.clock, self.outbox = FakeClock(), FakeOutbox()
        self.cloud = FakeCloud(self.clock, NODE, SITE)
        self.table = table or dict(handlers(self.run_dir))
        self.restart()
        self.memory.save_record(NodeRecord(state=NodeState.READY, node=NODE, site=SITE, reported=True))
        document = SiteDocument(
            generation=1, site=SITE, node=NODE, labels={}, endpoints=[], roster=[Member(node=NODE, name="kitchen-1")],
            command_keys=[ENDPOINT.public, {"kty": "oct", "k": "x"}],
        )  # fmt: skip
        self.memory.save_site(document)

    def restart(self) -> None:
        self.memory = Memory(self.directory)
        times = Times(self.clock, self.memory, 0)
        middle = lambda a, b: (a + b) / 2  # noqa: E731
        tokens = Tokens(self.cloud, "https://issuer", self.clock, times.now_s, middle)
        tokens.known_as(NODE, ENDPOINT)
        self.reporter = Reporter(self.memory, self.outbox, times)
        operators = {thumbprint(OPERATOR.public): OPERATOR.public}
        self.loop = CommandLoop(
            CommandParts(
                cloud=self.cloud, tokens=tokens, memory=self.memory, outbox=self.outbox, reporter=self.reporter,
                times=times, clock=self.clock, handlers=self.table, seconds=60.0, uniform=middle,
                keys=lambda: command_keys(operators, self.memory.site), log=structlog.get_logger(),
            )
        )  # fmt: skip

    @property
    def challenge(self) -> str:
        return str(self.outbox.kinds(Challenge)[-1].challenge)

    @property
    def results(self) -> list[CommandResult]:
        return self.outbox.kinds(CommandResult)

    def command(self, sequence: int = 1, verb: Verb = Verb.SYNC, **changed: Any) -> Command:
        now = self.clock.wall_ms() // 1000
        fields = {
            "id": f"{sequence:032x}", "verb": verb, "site": SITE, "node": NODE, "sequence": sequence,
            "challenge": self.challenge, "issued": now, "expires": now + 600,
            "args": RELEASE if verb is Verb.UPGRADE else {},
        }  # fmt: skip
        return Command(**{**fields, **changed})


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    await bench.reporter.bring_up_to_date()
    return bench


async def test_sync_wakes_vessel_and_is_answered(bench: Bench) -> None:
    before = bench.challenge
    command = bench.command(7)
    assert await bench.loop.handle(sign_command(command, [ENDPOINT]))
    wake = msgspec.json.decode((bench.run_dir / "sync.json").read_bytes())
    assert (wake["sequence"], wake["id"]) == (7, command.id)
    assert (bench.run_dir / "sync.json").stat().st_mode & 0o777 == 0o644
    assert [(one.command_id, one.outcome) for one in bench.results] == [(command.id, "done")]
    assert bench.challenge != before  # a new one for the next command
    assert bench.memory.ledger.consumed == 7


@pytest.mark.parametrize("verb", [verb for verb in Verb if verb is not Verb.SYNC])
async def test_what_this_version_cannot_do_is_refused_by_name(bench: Bench, verb: Verb) -> None:
    targets = {Verb.WIPE: ["var"], Verb.RETIRE: ["ident"]}.get(verb, [])
    await bench.loop.handle(sign_command(bench.command(1, verb, targets=targets), [OPERATOR]))
    assert [(one.verb, one.outcome) for one in bench.results] == [(verb.value, "refused")]
    assert "not available in this version" in bench.results[0].detail


def test_every_verb_has_a_handler(tmp_path: Path) -> None:
    assert set(handlers(tmp_path)) == set(Verb)


@pytest.mark.parametrize("verb", [Verb.WIPE, Verb.RETIRE, Verb.REJOIN, Verb.UPGRADE, Verb.ROTATE])
async def test_a_stolen_endpoint_cannot_sign_for_operators(bench: Bench, verb: Verb) -> None:
    await bench.loop.handle(sign_command(bench.command(1, verb), [ENDPOINT]))
    assert bench.results[0].outcome == "refused" and "signature" in bench.results[0].detail
    assert bench.memory.ledger.consumed == 0  # nor use up the sequence


@pytest.mark.parametrize(
    ("changed", "code", "spent"),
    [
        ({"node": "n-zzzzzzzzzz234567"}, "node", 0),
        ({"site": "store-2"}, "site", 0),
        ({"challenge": "x" * 22}, "challenge", 3),
        ({"expires": 1_000_000_000, "issued": 999_999_000}, "expired", 3),
        ({"issued": 1_900_000_000, "expires": 1_900_000_600}, "issued", 3),
    ],
)
async def test_refused_answered_once(bench: Bench, changed: dict[str, Any], code: str, spent: int) -> None:
    signed = sign_command(bench.command(3, **changed), [ENDPOINT])
    assert await bench.loop.handle(signed)
    assert not await bench.loop.handle(signed)
    assert len(bench.results) == 1 and bench.results[0].detail.startswith(code)
    assert not (bench.run_dir / "sync.json").exists()
    assert bench.memory.ledger.consumed == spent


async def test_a_strangers_command_cannot_push_the_sequence(bench: Bench) -> None:
    await bench.loop.handle(sign_command(bench.command(2**53 - 1), [STRANGER]))
    assert bench.memory.ledger.consumed == 0
    await bench.loop.handle(sign_command(bench.command(1), [ENDPOINT]))
    assert [one.outcome for one in bench.results] == ["refused", "done"]


async def test_a_replay_is_not_executed_and_not_answered_again(bench: Bench) -> None:
    signed = sign_command(bench.command(1), [ENDPOINT])
    await bench.loop.handle(signed)
    (bench.run_dir / "sync.json").unlink()
    await bench.loop.handle(signed)
    assert not (bench.run_dir / "sync.json").exists()
    assert [one.outcome for one in bench.results] == ["done"]


async def test_another_command_under_a_used_sequence_is_answered_once(bench: Bench) -> None:
    await bench.loop.handle(sign_command(bench.command(4), [ENDPOINT]))
    (bench.run_dir / "sync.json").unlink()
    restored = sign_command(bench.command(2, id="ab" * 16), [ENDPOINT])  # a store restored from a backup counts anew
    assert await bench.loop.handle(restored)
    assert not await bench.loop.handle(restored)
    assert not (bench.run_dir / "sync.json").exists() and bench.memory.ledger.consumed == 4
    last = bench.results[-1]
    assert (last.command_id, last.outcome, last.detail) == (
        "ab" * 16, "refused", "sequence: sequence 2 was already used",
    )  # fmt: skip
    assert len(bench.results) == 2


async def test_a_refused_token_is_renewed_and_the_commands_come(bench: Bench) -> None:
    bench.clock.now += 100
    bench.cloud.commands_waiting = [sign_command(bench.command(1), [ENDPOINT])]
    bench.cloud.dead_tokens = {await bench.loop.parts.tokens.bearer()}
    bench.clock.now += 10
    await bench.loop._look()
    assert [one.outcome for one in bench.results] == ["done"]
    assert len(bench.cloud.forms) == 2


async def test_a_challenge_serves_once(bench: Bench) -> None:
    challenge = bench.challenge
    await bench.loop.handle(sign_command(bench.command(1), [ENDPOINT]))
    await bench.loop.handle(sign_command(bench.command(2, challenge=challenge), [ENDPOINT]))
    assert [one.outcome for one in bench.results] == ["done", "refused"]


async def test_rubbish_becomes_an_alert(bench: Bench) -> None:
    signed = sign_command(bench.command(1), [ENDPOINT])
    rubbish = SignedCommand(payload=encode64(b"[1, 2"), signatures=signed.signatures)
    await bench.loop.handle(rubbish)
    await bench.loop.handle(rubbish)
    assert [alert.code for alert in bench.outbox.kinds(Alert)] == ["command-refused"]
    assert bench.results == []


async def test_a_handler_that_fails_is_answered(bench: Bench) -> None:
    async def fail(command: Command) -> Outcome:
        raise Retryable("the disk is full")

    assert await run(Handler(fail), bench.command()) == Outcome("failed", "the disk is full")
    bench.table[Verb.SYNC] = Handler(fail)
    await bench.loop.handle(sign_command(bench.command(1), [ENDPOINT]))
    assert [(one.outcome, one.detail) for one in bench.results] == [("failed", "the disk is full")]


async def test_hints_wake_only_for_news(bench: Bench) -> None:
    bench.loop.hint(0)
    assert not bench.loop.wake.is_set()
    bench.loop.hint(1)
    assert bench.loop.wake.is_set()


@pytest.mark.parametrize("repeatable", [True, False])
async def test_power_cut_at_every_step(tmp_path: Path, repeatable: bool) -> None:
    cut, finished = 0, False
    while not finished:
        place = tmp_path / str(cut)
        place.mkdir()
        done: list[str] = []

        async def execute(command: Command, done: list[str] = done) -> Outcome:
            done.append(command.id)
            return Outcome("done", "")

        bench = Bench(place, {verb: Handler(execute, repeatable=repeatable) for verb in Verb})
        await bench.reporter.bring_up_to_date()
        signed = sign_command(bench.command(1), [ENDPOINT])
        finished = not await _cut(bench, signed, cut)
        bench.outbox.before_put = lambda: None
        bench.restart()
        await bench.loop.finish()
        try:
            await bench.loop.handle(signed)  # the endpoint still has it
        except GalleyError as error:
            raise AssertionError("handling again must not fail") from error
        assert 1 <= len(done) <= (2 if repeatable else 1) or (not repeatable and not done)
        answers = {msgspec.json.encode(one) for one in bench.results}
        assert len(answers) == 1, "one answer; where it was put twice, the same one"
        if not repeatable and not done:
            assert bench.results[0].outcome == "failed"
        assert bench.memory.ledger.current is None and bench.memory.ledger.consumed == 1
        cut += 1
    assert cut >= 6


async def _cut(bench: Bench, signed: SignedCommand, cut: int) -> bool:
    """Cuts the power before the n-th durable step; False when there were not so many."""
    count = 0
    save = bench.memory.save_ledger

    def step() -> None:
        nonlocal count
        count += 1
        if count > cut:
            raise PowerCut

    def saving(ledger: Any) -> None:
        step()
        save(ledger)

    bench.memory.save_ledger = saving  # type: ignore[method-assign]
    bench.outbox.before_put = step
    try:
        await bench.loop.handle(signed)
    except PowerCut:
        return True
    return False


def test_operators_file(tmp_path: Path) -> None:
    file = tmp_path / "operators.json"
    assert read_operators(None) is None
    file.write_bytes(msgspec.json.encode({"v": 1, "operators": [OPERATOR.public]}))
    found = read_operators(file)
    assert found is not None and (found.generation, list(found.signing)) == (0, [thumbprint(OPERATOR.public)])
    for bad, cause in [
        ({"v": 1, "operators": [ENDPOINT.public]}, "operators[0]: must be an Ed25519 key"),
        ({"v": 1, "operators": [OPERATOR.private()]}, "private key"),
        ({"v": 2, "operators": []}, "v"),
    ]:
        file.write_bytes(msgspec.json.encode(bad))
        with pytest.raises(GalleyError, match="operators") as error:
            read_operators(file)
        assert cause in str(error.value) and str(OPERATOR.private()["d"]) not in str(error.value)
    with pytest.raises(GalleyError, match="cannot be read"):
        read_operators(tmp_path / "none.json")


class Slow:
    """A verb that ends after so many looks."""

    def __init__(self, looks: int) -> None:
        self.left, self.seen = looks, list[str]()

    async def __call__(self, command: Command) -> Outcome | None:
        self.seen.append(command.id)
        self.left -= 1
        return Outcome("done", "at last") if self.left <= 0 else None


async def test_what_has_not_ended_stays_in_hand_with_its_signatures_and_others_wait(tmp_path: Path) -> None:
    slow = Slow(4)
    bench = Bench(tmp_path, {verb: Handler(slow, repeatable=True) for verb in Verb})
    await bench.reporter.bring_up_to_date()
    first = bench.command(1, Verb.WIPE, targets=["var"])
    signed = sign_command(first, [OPERATOR])
    bench.cloud.commands_waiting = [signed, sign_command(bench.command(2), [OPERATOR])]
    await bench.loop._look()
    taken = bench.memory.ledger.current
    assert taken is not None and (taken.command, taken.signed, taken.outcome) == (first, signed, "")
    assert (slow.seen, bench.results, bench.memory.ledger.consumed) == ([first.id], [], 1)
    bench.restart()
    for _ in range(3):
        await bench.loop.finish()
    assert [(one.command_id, one.outcome, one.detail) for one in bench.results] == [(first.id, "done", "at last")]
    await bench.loop.finish()
    assert slow.seen == [first.id] * 4 and bench.memory.ledger.current is None


async def test_what_is_not_repeatable_and_has_not_ended_is_not_done_twice(tmp_path: Path) -> None:
    slow = Slow(9)
    bench = Bench(tmp_path, {verb: Handler(slow) for verb in Verb})
    await bench.reporter.bring_up_to_date()
    await bench.loop.handle(sign_command(bench.command(1), [OPERATOR]))
    await bench.loop.finish()
    assert [one.outcome for one in bench.results] == ["failed"] and len(slow.seen) == 1


def test_a_ledger_of_an_older_version_loads(bench: Bench) -> None:
    command = msgspec.to_builtins(bench.command(1))
    old = {"consumed": 1, "challenges": [], "current": {"command": command}, "refused": [], "taken": []}
    found = msgspec.convert(old, Ledger)
    assert found.current is not None and found.current.signed is None


def test_challenges_are_said_again_after_the_outbox_went() -> None:
    one = IssuedChallenge(value="c", issued=1, published=True)
    assert not republished(Ledger(challenges=[one])).challenges[0].published
