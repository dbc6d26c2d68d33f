"""The console looks again until the configuration is right, and shows what it lacks until then."""

from __future__ import annotations

from pathlib import Path

from agents.contracts.messages import NodeState
from edge_commander.console.look import CHECK_AGAIN_SECONDS, EARLY, MEDIUM, Look, notices
from edge_commander.console.screen import HEIGHT, WIDTH, lines
from edge_commander.console.view import NO_SETTINGS, SILENT, WRONG_SETTINGS, Seen, view
from edge_commander.reasons import Why
from edge_commander.view import StatusDocument

NOW = 1_800_000_000_000
FACTS = '{"hardware_id": "NUC-77", "serial": "S-77", "boot_id": "b", "hostname": "h", "hardware": "NUC"}'


class World:
    """A node's files, and how often the commander's own check was run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = 0.0
        self.wrong: tuple[str, ...] = ()
        self.checks = 0
        self.noticed: dict[Path, list[str]] = {}
        (root / "machine.json").write_text(FACTS)
        self.look = Look(
            root=root, check=self._check, monotonic=lambda: self.now, now_ms=lambda: NOW,
            noticed=lambda file: self.noticed.get(file, []), net=lambda: (["192.0.2.7"], True),
        )  # fmt: skip

    def _check(self, _: Path | None) -> tuple[str, ...]:
        self.checks += 1
        return self.wrong

    def settings(self, more: str = "") -> None:
        node = f"node: {{run_dir: {self.root}, machine: 'file:{self.root}/machine.json'}}"
        (self.root / "galley.yaml").write_text(f"v: 1\n{node}\n{more}\n")


def test_no_settings_then_wrong_ones_then_good_ones(tmp_path: Path) -> None:
    world = World(tmp_path)
    first = view(world.look())
    assert first.state == NO_SETTINGS and "stick labelled GALLEY" in first.here and first.problems == ()
    world.settings("edge_commander: {enrol_seconds: 0, colour: red}\nendpoint: {urls: []}")
    second = view(world.look())
    assert second.state == WRONG_SETTINGS and len(second.problems) == 4
    assert second.reason == f"4 problems in {tmp_path / 'galley.yaml'}"
    assert [one.split(".")[0] for one in second.problems] == ["line 3: edge_commander"] * 2 + ["line 4: endpoint"] * 2
    assert "stick labelled GALLEY" in second.here and "192.0.2.7" in second.address
    world.settings()
    third = view(world.look())
    assert third.state == SILENT and third.problems == ()
    assert third.serial == "S-77" and third.node.startswith("n-")
    (tmp_path / "galley.d").mkdir()
    (tmp_path / "galley.d/10.yaml").write_text("edge_commander: {keys: paper}\n")
    assert view(world.look()).state == WRONG_SETTINGS


def test_a_silent_commanders_own_check_is_asked_now_and_then_not_at_each_look(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.settings()
    world.wrong = ("edge_commander.operators_file: /x: cannot be read",)
    assert view(world.look()).state == SILENT and world.checks == 0  # it may only be starting
    world.now += CHECK_AGAIN_SECONDS
    for _ in range(5):
        assert view(world.look()).problems == world.wrong
    assert world.checks == 1
    world.wrong = ()
    world.now += CHECK_AGAIN_SECONDS
    assert view(world.look()).state == SILENT and world.checks == 2


def test_what_early_boot_and_the_settings_unit_left_is_shown_and_bounded(tmp_path: Path) -> None:
    early, medium = tmp_path / "problems", tmp_path / "settings"
    early.write_text("vda: cannot be partitioned (install)\n\n")
    medium.write_bytes(b"the stick: galley.yaml: v: must be 1\n" + b"x\xff" * 100_000)
    assert notices(early) == ("vda: cannot be partitioned (install)",)
    found = notices(medium)
    assert found[0] == "the stick: galley.yaml: v: must be 1" and sum(map(len, found)) < 10_000
    assert notices(tmp_path / "none") == ()


def test_who_put_a_wrong_stick_in_is_told_to_have_it_corrected(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.noticed = {MEDIUM: ["the stick: galley.yaml: v: must be 1"], EARLY: ["keep: cannot be mounted"]}
    first = view(world.look())
    assert first.state == NO_SETTINGS and first.here.startswith("have galley.yaml corrected")
    assert first.problems == ("keep: cannot be mounted", "the stick: galley.yaml: v: must be 1")
    well = StatusDocument(state=NodeState.READY, reason="", since=1, node=None, site=None)
    assert view(Seen(document=well, now_ms=NOW, early=["keep: cannot be mounted"])).here.startswith("call the support")
    waits = StatusDocument(state=NodeState.FORMING, reason=Why.TURN.value, since=1, node=None, site=None)
    assert view(Seen(document=waits, now_ms=NOW, medium=["the stick: x"])).here.startswith("nothing: one node")


def test_every_problem_is_on_the_screen_at_once() -> None:
    def shown(problems: list[str]) -> list[str]:
        return lines(view(Seen(document=None, now_ms=NOW, problems=problems)))

    few = [f"/etc/galley/galley.yaml: endpoint.urls[{i}]: plain http is refused off loopback" for i in range(8)]
    assert all(any(f"urls[{i}]" in row for row in shown(few)) for i in range(8))
    long = [f"/etc/galley/galley.yaml: vessel.key{i:02}: {'word ' * 40}" for i in range(12)]
    rows = shown(long)
    assert all(any(f"key{i:02}" in row for row in rows) for i in range(12))
    many = [f"problem number {i:03}" for i in range(100)]
    rows = shown(many)
    assert len(rows) == HEIGHT and max(map(len, rows)) <= WIDTH
    listed = sum("problem number" in row for row in rows)
    assert rows[-1].strip() == f"and {100 - listed} more"
