"""What `galley` says before it has asked anything: no profile, a wrong one, a CA file that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.core.jose import SoftwareKey
from agents.io.http import problem_detail
from cloud_endpoint import keyfile
from cloud_endpoint.cli import __main__ as cli
from cloud_endpoint.cli import profile


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert cli.main([*arguments, "site", "list"]) == 78
    return capsys.readouterr().err.splitlines()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    keyfile.create(tmp_path / "me.json", SoftwareKey.generate())
    return tmp_path


def test_without_a_profile_the_first_line_names_the_file_and_the_next_say_how_to_make_it(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, *lines = said(capsys)
    file = home / ".config/galley/galley.yaml"
    assert first == f"galley: {file}: there is no such file, and no flag gives url, operator, key_file"
    assert second.startswith("galley: give --url, --operator and --key-file, or make the file")
    file.parent.mkdir(parents=True)
    file.write_text("\n".join(line.strip().partition("   (")[0] for line in lines))
    options = cli.build_parser().parse_args(["site", "list"])
    made = profile.load(options)  # what it shows is a good profile
    assert (made.operator, made.issuer, made.ca_file) == ("alice", made.url, f"{home}/.config/galley/ca.pem")
    assert said(capsys, "--profile", str(home / "none.yaml"))[0].endswith(
        "none.yaml: cannot be read: No such file or directory"
    )


def test_every_missing_line_of_a_profile_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = home / "p.yaml"
    file.write_text("operator: me\n")
    assert said(capsys, "--profile", str(file)) == [
        f"galley: {file}: url: is required", f"galley: {file}: key_file: is required",
    ]  # fmt: skip


def test_a_wrong_ca_file_and_plain_http_are_named_as_this_tools_settings(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    me = ["--operator", "me", "--key-file", str(home / "me.json")]
    ca = said(capsys, *me, "--url", "https://127.0.0.1:1", "--ca-file", "/nope")
    assert ca == ["galley: ca_file: /nope: cannot be read: No such file or directory"]
    for url in ("http://127.0.0.1:1", "http://cloud.test", "cloud.test"):
        (line,) = said(capsys, *me, "--url", url)
        assert line.startswith("galley: url: must begin with https://")


@pytest.mark.parametrize(
    ("detail", "shown"),
    [
        ("$.site: there is no site 'nope'", "site: there is no site 'nope'"),
        ("$: is empty", "is empty"),
        ("Expected `int`, got `str` - at `$.tls.port`", "Expected `int`, got `str` - at `tls.port`"),
        ("costs $5: too much", "costs $5: too much"),
        ("$5", "$5"),
    ],
)
def test_a_problems_detail_for_people(detail: str, shown: str) -> None:
    assert problem_detail(b'{"title": "Conflict", "detail": "%s"}' % detail.encode()) == shown
    assert problem_detail(b"<html>") == problem_detail(b'{"title": "Conflict", "detail": 5}') == ""
