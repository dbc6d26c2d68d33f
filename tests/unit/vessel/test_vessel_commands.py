"""The command line around the daemon: what there is, what there is not, and a reader that goes away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vessel.__main__ import main

NAMES = ("bootstrap", "status", "lint", "render")


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    told = capsys.readouterr().out
    assert all(f"  {name} " in told for name in NAMES)


def test_an_unknown_command_is_told_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["foo"])
    assert end.value.code == 2
    told = capsys.readouterr().err
    assert "foo" in told and all(name in told for name in NAMES)


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    app = tmp_path / "apps" / "web"
    app.mkdir(parents=True)
    (app / "app.yaml").write_text("v: 1\nowner: team\nnamespace: web\n")
    body = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m%d}\ndata: {k: %s}\n"
    (app / "all.yaml").write_text("---\n".join(body % (n, "x" * 1000) for n in range(300)))
    command = [sys.executable, "-m", "vessel", "render", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"---\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 141


def test_a_kubeconfig_of_two_documents_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text("a: s3cret\n---\nb: 2\n")
    assert main(["bootstrap", "--kubeconfig", str(file)]) == 1
    told = capsys.readouterr().err
    assert f"{file}: not usable: it is not one YAML document" in told and "s3cret" not in told
