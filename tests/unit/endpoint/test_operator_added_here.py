"""`galley-endpoint operator add` says of each key that it made which it is, and in which file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.core.jose import thumbprint
from cloud_endpoint.local import run_local


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "endpoint.yaml"
    own = {"issuer": "https://galley.example", "tls": {"cert_file": "none", "key_file": "none"}}
    file.write_text(json.dumps({"v": 1, "node": {"state_dir": str(tmp_path / "state")}, "cloud_endpoint": own}))
    (tmp_path / "state/galley-endpoint").mkdir(parents=True)
    return file


def test_both_keys_are_named_with_their_files(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    login, command = tmp_path / "ann-login.json", tmp_path / "ann.json"
    words = ["operator", "add", "ann", "--key-out", str(login), "--command-key-out", str(command)]
    assert run_local("galley-endpoint", [*words, "--config", str(config)]) == 0
    kid = {file: thumbprint(json.loads(file.read_text())) for file in (login, command)}
    assert capsys.readouterr().out.splitlines() == [
        f"operator ann with admin: key {kid[login]} in {login} logs in",
        f"operator ann: key {kid[command]} in {command} signs commands",
    ]
    assert (
        run_local("galley-endpoint", ["operator", "add", "ben", "--key-out", f"{login}2", "--config", str(config)]) == 0
    )
    assert "signs" not in capsys.readouterr().out, "there is no such key"
