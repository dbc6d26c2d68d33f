"""`edge-commander status` and the console where no commander answers: the record, and what its own check says."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from agents.contracts.messages import NodeState
from edge_commander import status
from edge_commander.memory import Memory
from edge_commander.reasons import NodeRecord, Reason, Why

NOW = 1_800_000_000_000


def test_a_node_whose_commander_is_down_is_shown_by_its_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "galley.yaml"
    config.write_text(f"v: 1\nnode: {{run_dir: {tmp_path}}}\nedge_commander: {{keys_dir: {tmp_path}}}\n")
    assert status.main(["--config", str(config)]) == 4
    Memory(tmp_path).save_record(
        NodeRecord(state=NodeState.ENROLLING, reason=Reason(Why.CONFIG), since=NOW, node="n-abcdefghij234567")
    )
    assert status.main(["--config", str(config)]) == 3
    assert f"name an endpoint in {config}" in capsys.readouterr().out
    assert status.main(["--config", str(config), "--output", "json"]) == 3
    told = msgspec.json.decode(capsys.readouterr().out)
    assert told["running"] is False and told["state"] == "enrolling" and str(config) in told["advice"]
    assert status.main(["--config", str(config), "--console"]) == 0
    assert "state    Edge Commander does" in capsys.readouterr().out


def test_a_wrong_configuration_is_told_and_does_not_hide_the_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "galley.yaml"
    own = f"keys_dir: {tmp_path}, operators_file: {tmp_path}/nowhere.json"
    config.write_text(f"v: 1\nnode: {{run_dir: {tmp_path}}}\nedge_commander: {{{own}}}\n")
    Memory(tmp_path).save_record(NodeRecord(state=NodeState.ENROLLING, since=NOW, node="n-abcdefghij234567"))
    assert status.main(["--config", str(config)]) == 78
    told = capsys.readouterr()
    assert f"{tmp_path}/nowhere.json" in told.err and "n-abcdefghij234567" in told.out
    config.write_text("v: 1\nedge_commander: {enrol_seconds: 0, colour: red}\n")
    assert status.main(["--config", str(config)]) == 78
    told = capsys.readouterr()
    assert "edge_commander.enrol_seconds" in told.err and "edge_commander.colour" in told.err
    assert status.main(["--config", str(config), "--console"]) == 0
    shown = capsys.readouterr().out
    assert "edge_commander.enrol_seconds" in shown and "edge_commander.colour" in shown and "2 problems" in shown
