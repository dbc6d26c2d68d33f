"""The node's loop turn by turn, with a cloud and a cluster that do as told."""

import asyncio
from pathlib import Path

import msgspec
import pytest
import structlog
from commander_fakes import NOW_MS, FakeClock, FakeCloud, FakeDistribution, FakeOutbox

from agents.contracts.identity import EnrolStatus, Member
from agents.contracts.ids import node_id
from agents.contracts.messages import Alert, Challenge, NodeState, State
from agents.contracts.trust import Roster, RosterMember
from agents.core.assertion import check_enrolment_proof
from agents.core.errors import Rejected, Retryable
from agents.core.jose import SoftwareKey
from agents.core.ports import MachineFacts
from agents.core.trust import TrustPolicy, sign_roster
from edge_commander.cloud import ClockSuspect, TokenRefused
from edge_commander.distribution.port import ClusterMember
from edge_commander.keys import FileKeyStore
from edge_commander.loop import NodeLoop, Parts
from edge_commander.memory import Memory
from edge_commander.reasons import NodeRecord, Reason, Why
from edge_commander.report import Reporter
from edge_commander.settings import CommanderSettings
from edge_commander.times import Times
from edge_commander.tokens import Tokens
from edge_commander.trust.keeper import NodeTrust
from edge_commander.trust.record import Basis

HARDWARE = "serial-4711"
NODE = node_id(HARDWARE)
ISSUER = "https://issuer.example"


class Bench:
    """A node on `directory`; `restart` is a new process on the same disk."""

    def __init__(self, directory: Path, *, image_build: int = 0) -> None:
        self.directory, self.image_build = directory, image_build
        self.clock, self.outbox = FakeClock(), FakeOutbox()
        self.cloud = FakeCloud(self.clock, NODE)
        self.distribution = FakeDistribution()
        self.hardware, self.code = HARDWARE, "code-1"
        self.basis = Basis(TrustPolicy.ENDPOINT)
        self.restart()

    def restart(self) -> None:
        self.memory = Memory(self.directory)
        self.times = Times(self.clock, self.memory, self.image_build)
        middle = lambda a, b: (a + b) / 2  # noqa: E731
        self.tokens = Tokens(self.cloud, ISSUER, self.clock, self.times.now_s, middle)
        self.reporter = Reporter(self.memory, self.outbox, self.times)
        self.trust = NodeTrust(self.directory, self.basis, self.outbox, structlog.get_logger())
        self.loop = NodeLoop(
            Parts(
                settings=CommanderSettings(), facts=MachineFacts(self.hardware, "s", "boot", "host", "NUC"),
                issuer=ISSUER, clock=self.clock, memory=self.memory, keys=FileKeyStore(self.directory),
                cloud=self.cloud, tokens=self.tokens, times=self.times, distribution=self.distribution,
                reporter=self.reporter, log=structlog.get_logger(), code=lambda: self.code, uniform=middle,
                say=lambda ok, text: None, trust=self.trust,
            )
        )  # fmt: skip

    async def turn(self, times: int = 1) -> float:
        delay = 0.0
        for _ in range(times):
            delay = await self.loop.turn()
            await self.reporter.bring_up_to_date()
            self.clock.now += max(delay, 0.01)
        return delay

    @property
    def state(self) -> tuple[NodeState, str]:
        return self.memory.record.state, self.memory.record.reason.text

    async def ready(self) -> "Bench":
        await self.turn(4)
        assert self.state == (NodeState.READY, "")
        return self


async def test_from_factory_to_ready(tmp_path: Path) -> None:
    bench = await Bench(tmp_path).ready()
    states = [message.state.value for message in bench.outbox.kinds(State)]
    assert states == ["assigned", "forming", "ready"]
    assert len(bench.cloud.requests) == 1
    request = bench.cloud.requests[0]
    check_enrolment_proof(
        request.proof, HARDWARE, signing=request.signing, sealing=request.sealing, issuer=ISSUER, now=NOW_MS // 1000
    )
    assert request.code == "code-1" and "d" not in request.signing and "d" not in request.sealing
    assert len(bench.outbox.kinds(Challenge)) == 1
    await bench.turn(20)
    assert len(bench.outbox.bodies) == 4  # nothing new, nothing said
    assert bench.memory.site is not None and bench.memory.site.roster[0].name == "kitchen-1"


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (EnrolStatus.PENDING, Why.APPROVAL),
        (EnrolStatus.QUARANTINED, Why.QUARANTINED),
        (EnrolStatus.REFUSED, Why.REFUSED),
    ],
)
async def test_waiting_for_a_person(tmp_path: Path, status: EnrolStatus, why: Why) -> None:
    bench = Bench(tmp_path)
    bench.cloud.status = status
    assert 18.0 <= await bench.turn() <= 22.0  # the answer's retry_after
    assert bench.state == (NodeState.ENROLLING, f"{why.value}: said so")
    since = bench.memory.record.since
    await bench.turn(3)
    bench.restart()
    await bench.turn(2)
    assert bench.memory.record.since == since  # it has been so since then
    assert len(bench.outbox.kinds(State)) == 1
    assert len({msgspec.json.encode(request.signing) for request in bench.cloud.requests}) == 1
    bench.cloud.status = EnrolStatus.ENROLLED
    await bench.turn(4)
    assert bench.state == (NodeState.READY, "")


async def test_without_the_endpoint(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.cloud.error = Retryable("no route", retry_after=None)
    delays = [await bench.turn() for _ in range(9)]
    assert bench.state == (NodeState.ENROLLING, "waiting: endpoint")
    assert delays[0] < 1.0 < 30.0 <= delays[-1] <= 60.0
    assert len(bench.outbox.kinds(State)) == 1


async def test_a_wrong_clock_is_said(tmp_path: Path) -> None:
    bench = Bench(tmp_path, image_build=NOW_MS // 1000 - 1000)
    bench.clock.wall_off = -NOW_MS  # 1970
    bench.cloud.error = ClockSuspect("certificate is not yet valid")
    await bench.turn()
    assert bench.memory.record.reason.why is Why.CLOCK
    bench.cloud.error = None
    bench.clock.wall_off = -NOW_MS + 1
    await bench.turn(5)
    assert (
        bench.memory.record.state is NodeState.FORMING
    )  # enrolled by the endpoint's time, forming waits for the clock
    assert bench.memory.record.reason.why is Why.CLOCK
    assert bench.memory.last_good >= NOW_MS
    bench.clock.wall_off = 0
    await bench.turn(2)
    assert bench.state == (NodeState.READY, "")


async def test_ready_stays_ready_and_says_what_is_missing(tmp_path: Path) -> None:
    bench = await Bench(tmp_path).ready()
    bench.distribution.api = False
    await bench.turn()
    assert bench.state == (NodeState.READY, "waiting: api")
    bench.distribution.api, bench.distribution.nodes = True, []
    await bench.turn()
    assert bench.state == (NodeState.READY, "waiting: member: no Node kitchen-1")
    bench.distribution.nodes = [ClusterMember(name="kitchen-1", ready=False, server=True)]
    await bench.turn()
    assert bench.state == (NodeState.READY, "waiting: node ready: Node kitchen-1")
    bench.distribution.error = Rejected("no such kubeconfig")
    await bench.turn()
    assert bench.memory.record.reason.why is Why.DISTRIBUTION
    bench.distribution.error = None
    bench.distribution.nodes = [ClusterMember(name="kitchen-1", ready=True, server=True)]
    await bench.turn()
    assert bench.state == (NodeState.READY, "")


async def test_offline_after_a_restart(tmp_path: Path) -> None:
    bench = await Bench(tmp_path).ready()
    said = len(bench.outbox.bodies)
    bench.cloud.error = Retryable("no route")
    bench.restart()
    await bench.turn(3)
    assert bench.state == (NodeState.READY, "")
    assert bench.memory.site is not None and bench.memory.site.site == "store-1"
    assert len(bench.outbox.bodies) == said and len(bench.cloud.requests) == 1


async def test_a_roster_without_this_node_waits(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.cloud.roster = []
    await bench.turn(3)
    assert bench.state == (NodeState.ASSIGNED, "waiting: site")
    bench.cloud.roster, bench.cloud.generation = [Member(node=NODE, name="kitchen-1")], 2
    await bench.turn(4)
    assert bench.state == (NodeState.READY, "")


async def test_an_older_or_foreign_site_document_is_not_taken(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.cloud.generation = 5
    await bench.ready()
    bench.cloud.generation, bench.cloud.roster = 4, []
    bench.clock.now += 400
    await bench.turn()
    assert bench.memory.site is not None and bench.memory.site.generation == 5
    bench.cloud.generation, bench.cloud.site_id = 6, "store-2"
    bench.clock.now += 400
    await bench.turn()
    assert bench.memory.site.site == "store-1" and bench.memory.record.state is NodeState.READY


async def test_a_token_refused_before_its_end_shows_a_revoked_node(tmp_path: Path) -> None:
    bench = await Bench(tmp_path).ready()
    bench.cloud.status = EnrolStatus.REFUSED
    bench.cloud.dead_tokens = {await bench.tokens.bearer()}  # it has minutes to live yet

    async def refuse(form: dict[str, str]) -> object:
        raise TokenRefused("invalid_client")

    bench.cloud.token = refuse
    bench.clock.now += 310  # the next look for a site document
    await bench.turn()
    assert bench.state == (NodeState.READY, "waiting: a person (refused): said so")


async def test_revoked_it_works_on_and_says_so(tmp_path: Path) -> None:
    bench = await Bench(tmp_path).ready()
    bench.clock.now += 700
    bench.cloud.error = TokenRefused("invalid_client")
    await bench.turn()
    assert bench.tokens.refused
    bench.cloud.error, bench.cloud.status = None, EnrolStatus.REFUSED
    bench.tokens.refused = True
    bench.clock.now += 60
    with_token = bench.cloud.token

    async def refuse(form: dict[str, str]) -> object:
        raise TokenRefused("invalid_client")

    bench.cloud.token = refuse
    await bench.turn()
    assert bench.state == (NodeState.READY, "waiting: a person (refused): said so")
    bench.cloud.status, bench.cloud.token = EnrolStatus.ENROLLED, with_token
    bench.clock.now += 60
    await bench.turn(2)
    bench.clock.now += 60
    await bench.turn(2)
    assert bench.state == (NodeState.READY, "")


async def test_a_moved_disk_serves_nobody(tmp_path: Path) -> None:
    bench = await Bench(tmp_path).ready()
    bench.hardware = "serial-0815"
    bench.restart()
    await bench.turn()
    assert bench.memory.record.reason.why is Why.HARDWARE
    with pytest.raises(Retryable, match="not enrolled"):
        await bench.tokens.bearer()


async def test_damaged_keys_wait_for_a_person(tmp_path: Path) -> None:
    bench = await Bench(tmp_path).ready()
    keys = tmp_path / "device-keys.json"
    good = keys.read_bytes()
    keys.write_bytes(good[:100])
    for _ in range(2):
        bench.restart()
        await bench.turn(2)
        assert bench.memory.record.reason.why is Why.KEYS
    alerts = bench.outbox.kinds(Alert)
    assert len(alerts) == 1 and "device-keys.json" in alerts[0].text
    assert len(bench.cloud.requests) == 1
    keys.write_bytes(good)
    await bench.turn(2)
    assert bench.state == (NodeState.READY, "")


async def test_lost_keys_are_not_made_anew(tmp_path: Path) -> None:
    bench = await Bench(tmp_path).ready()
    (tmp_path / "device-keys.json").unlink()
    bench.restart()
    await bench.turn(2)
    assert bench.memory.record.reason.why is Why.KEYS and not (tmp_path / "device-keys.json").exists()


async def test_a_damaged_state_keeps_the_identity(tmp_path: Path) -> None:
    bench = await Bench(tmp_path).ready()
    (tmp_path / "state.json").write_text("rubbish")
    bench.restart()
    await bench.turn(5)
    assert bench.state == (NodeState.READY, "")
    assert len({msgspec.json.encode(request.signing) for request in bench.cloud.requests}) == 1
    assert [alert.code for alert in bench.outbox.kinds(Alert)] == ["state-damaged"]


async def test_retired_does_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.memory.save_record(NodeRecord(state=NodeState.RETIRED, node=NODE))
    await bench.turn(3)
    assert bench.cloud.requests == [] and not (tmp_path / "device-keys.json").exists()
    assert [message.state for message in bench.outbox.kinds(State)] == [NodeState.RETIRED]


async def test_a_crash_between_outbox_and_disk_repeats_the_same_message(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.cloud.status = EnrolStatus.PENDING
    await bench.loop.turn()
    record = bench.memory.record
    await bench.reporter.bring_up_to_date()
    bench.memory.save_record(msgspec.structs.replace(record, reported=False))  # as if killed before it was noted
    bench.restart()
    await bench.turn()
    first, second = bench.outbox.kinds(State)
    assert first == second
    await asyncio.sleep(0)


async def test_a_signed_roster_is_taken_and_its_signature_alone_is_no_write(tmp_path: Path) -> None:
    bench = await Bench(tmp_path).ready()
    mine = RosterMember(
        node=NODE, name="kitchen-1", signing=bench.cloud.requests[0].signing, sealing=bench.cloud.requests[0].sealing
    )
    key = SoftwareKey.generate()
    roster = Roster(site="store-1", generation=7, members=[mine])
    bench.cloud.roster_keys = [key.public]
    files = [tmp_path / "site.json", tmp_path / "trust.json"]
    seen = []
    for _ in range(3):
        bench.cloud.roster_jws = sign_roster(roster, key)
        bench.clock.now += bench.loop.parts.settings.site_seconds * 2
        await bench.turn()
        assert bench.trust.roster is not None and bench.trust.allowed(NODE, mine.signing)
        seen.append([file.read_bytes() for file in files])
    assert seen[0] == seen[1] == seen[2] and b"roster_jws" in seen[0][0] and key.public["x"].encode() not in seen[0][0]
    other = msgspec.structs.replace(mine, signing=SoftwareKey.generate().public)
    bench.cloud.roster_jws = sign_roster(Roster(site="store-1", generation=8, members=[other]), key)
    bench.clock.now += bench.loop.parts.settings.site_seconds * 2
    await bench.turn()
    assert bench.trust.roster.roster.generation == 7
    assert [one.text.partition(":")[0] for one in bench.outbox.kinds(Alert)] == ["own-keys"]
    assert bench.state == (NodeState.READY, "")


@pytest.mark.parametrize(
    ("why", "seconds"),
    [
        (Why.STARTING, 0.5),
        (Why.TURN, 1.0),
        (Why.SECRETS, 1.0),
        (Why.FIRST, 1.0),
        (Why.SIBLINGS, 3.0),
        (Why.DECISION, 3.0),
    ],
)
async def test_who_waits_for_siblings_alone_looks_again_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: Why, seconds: float
) -> None:
    bench = Bench(tmp_path)
    await bench.turn(2)

    async def form(clock: Reason) -> Reason:
        return Reason(why)

    monkeypatch.setattr(bench.loop, "_form", form)
    assert await bench.turn() == seconds
    assert bench.state == (NodeState.FORMING, why.value)
