"""`edge-commander stick check`: the daemons' own checks, on a folder, without root and with nothing in /etc/galley."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from agents.core.jose import SoftwareKey
from cloud_endpoint.certs import make_certs
from edge_commander.entry import main
from edge_commander.machine_settings import desk, judge

GOOD = """\
v: 1
endpoint: {urls: ["https://galley.example:8443"], issuer: "https://galley.example", ca_file: /etc/galley/ca.pem}
synthetic_client: {scenario: /etc/galley/scenario.yaml}
vessel:
  kubeconfig: /run/galley-access/vessel.kubeconfig
  git_ca_file: /etc/ssl/certs/ca-certificates.crt
  atlas: {url: "https://git.example/a.git", credential: "file:/etc/galley/vessel.token"}
edge_commander:
  operators_file: /etc/galley/operators-1.json
  enrol_code_file: /etc/galley/enrol-code
  distribution: {kind: kubeadm}
machine: {network: {address: 192.0.2.11/24, gateway: 192.0.2.1}}
"""
BAD = """\
v: 1
kitchen: {}
endpoint: {urls: ["http://galley.example"], issuer: "https://galley.example", ca_file: ca.pem}
machine: {network: {address: 192.0.2.11/24, gateway: 198.51.100.1, colour: red}}
"""
SCENARIO = """\
v: 1
scenario: first-day
interval_seconds: 30
report_seconds: 60
steps: [{type: cloud, name: cloud}]
"""


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    """The medium that docs/image.md describes, and a Git token that Vessel alone may read."""
    folder = tmp_path / "stick"
    (folder / "galley").mkdir(parents=True)
    make_certs(tmp_path / "certs", ("galley.example",))
    for name, text in {
        "ca.pem": (tmp_path / "certs/ca.pem").read_text(),
        "operators-1.json": json.dumps({"v": 1, "operators": [SoftwareKey.generate("Ed25519").public]}),
        "scenario.yaml": SCENARIO,
        "enrol-code": "ABCD-EFGH",
        "vessel.token": "secret",
    }.items():
        (folder / "galley" / name).write_text(text)
    (folder / "galley.yaml").write_text(GOOD)
    return folder


def said(stick: Path, capsys: pytest.CaptureFixture[str], end: str = "a node takes nothing of it over") -> list[str]:
    """The problems; as the command is called, every one in a line of its own, with the folder's name before it."""
    assert main(["stick", "check", str(stick)]) == 78
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith(f"{stick}: ") for line in lines)
    *problems, last = [line.removeprefix(f"{stick}: ") for line in lines]
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    assert last == f"{count}; {end}"
    return problems


def test_a_good_stick_is_good_whatever_this_machine_has(
    stick: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GALLEY_VESSEL__POLL_SECONDS", "never")  # of this machine: no node has it
    assert main(["stick", "check", str(stick)]) == 0
    taken = "ca.pem, enrol-code, galley.yaml, operators-1.json, scenario.yaml, vessel.token"
    assert capsys.readouterr().out == f"{stick}: the settings are good ({taken})\n"


def test_what_is_wrong_in_any_daemons_files_is_said_at_once(stick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also a file that is here and will not be there, and one that another daemon's user alone may read."""
    ca = stick / "galley/ca.pem"
    wrong = GOOD.replace("ca_file: /etc/galley/ca.pem", f"ca_file: {ca}")
    wrong = wrong.replace("/etc/galley/operators-1.json", "/etc/galley/vessel.token")
    wrong = wrong.replace("192.0.2.1}", "198.51.100.1}")
    (stick / "galley.yaml").write_text(wrong + "heartbeat: {health: {bind: 192.168..5}}\n")
    (stick / "galley/scenario.yaml").write_text(SCENARIO.replace("cloud, name", "cluod, name"))
    found = said(stick, capsys)
    missing = "cannot be read: No such file or directory"
    denied = missing if os.geteuid() == 0 else "cannot be read: Permission denied"
    assert found[0] == "galley.yaml:12: machine.network.gateway: 198.51.100.1 is not in 192.0.2.0/24"
    assert f"endpoint.ca_file: {ca}: must be /etc/galley/ca.pem, which is galley/ca.pem on the medium" in found
    assert f"edge_commander.operators_file: /etc/galley/vessel.token: {denied}" in found
    assert any(one.startswith("galley.yaml:13: heartbeat.health.bind: must be an address") for one in found)
    assert any(one.startswith("synthetic_client.scenario: /etc/galley/scenario.yaml:5: steps[0]") for one in found)
    assert len(found) == 5, found


def test_the_machines_and_the_shared_sections_are_judged_together(
    stick: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (stick / "galley.yaml").write_text(BAD)
    found = said(stick, capsys)
    assert "galley.yaml:4: machine.network.colour: unknown key" in found
    assert "galley.yaml:2: kitchen: unknown section" in found
    assert "galley.yaml:3: endpoint.urls[0]: plain http is refused off loopback" in found
    assert len(found) == len(set(found)), "each once, whoever found it"


NAMED = ("ca.pem", "operators-1.json", "scenario.yaml")


@pytest.mark.parametrize(
    "wrong",
    [
        GOOD.replace("v: 1\n", "v: 1\nkitchen: {}\n").replace("https://galley.example:8443", "http://galley.example"),
        GOOD.replace(', issuer: "https://galley.example"', "") + "node: {colour: red}\n",
    ],
    ids=["unknown section, insecure endpoint", "endpoint without an issuer, wrong node"],
)
def test_what_is_wrong_in_one_section_hides_no_file_that_another_names(
    stick: Path, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    """Whoever mends a stick is to need one turn."""
    (stick / "galley.yaml").write_text(wrong)
    for name in NAMED:
        (stick / "galley" / name).write_text("nothing of use")
    found = said(stick, capsys)
    for name in NAMED:
        assert any(name in problem for problem in found), (name, found)
    assert not any("vessel.atlas" in problem for problem in found), found


def test_what_no_node_would_look_into_is_told_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> list[str]:
        raise AssertionError("nothing is there to be judged")

    monkeypatch.setattr(judge, "daemon_says", never)
    assert said(tmp_path / "gone", capsys) == ["there is no such folder"]
    assert said(tmp_path, capsys) == ["there is no galley.yaml at its top"]
    (tmp_path / "galley.yml").touch()
    assert said(tmp_path / "galley.yml", capsys) == ["is no folder"]
    assert said(tmp_path, capsys) == ["there is no galley.yaml at its top: galley.yml must be called galley.yaml"]
    (tmp_path / "galley.yaml").write_text("v: [")
    assert said(tmp_path, capsys)[0].startswith("galley.yaml")
    (tmp_path / "galley").mkdir()
    (tmp_path / "galley/\x1b[2Jred").touch()
    (found,) = said(tmp_path, capsys)
    assert found.endswith("is no plain file with a plain name") and "\x1b" not in found


def test_what_will_not_work_on_a_new_node_is_a_problem_here_and_what_may_be_meant_a_note(
    stick: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "daemon_says", lambda *_, **__: [])
    waits = "a node would take it over, and wait for what is missing"
    code = stick / "galley/enrol-code"
    code.write_text("the code of the first device\n")
    (wrong,) = said(stick, capsys, waits)
    assert "galley/enrol-code must hold the one-time code alone" in wrong
    code.rename(stick / "galley/enrol-code.txt")
    (wrong,) = said(stick, capsys, waits)
    assert wrong.endswith("galley/enrol-code is not there: galley/enrol-code.txt must be called so")
    (stick / "galley/enrol-code.txt").unlink()
    (stick / "galley.yaml").write_text(GOOD.replace("  distribution: {kind: kubeadm}\n", ""))
    assert main(["stick", "check", str(stick)]) == 0
    *notes, good = [line.removeprefix(f"{stick}: ") for line in capsys.readouterr().out.splitlines()]
    assert [one.partition(" is not ")[0] for one in notes] == [
        "note: edge_commander.enrol_code_file: galley/enrol-code", "note: edge_commander.distribution.kind",
    ] and good.startswith("the settings are good")  # fmt: skip
    (stick / "galley/ann.json").write_text(json.dumps({**SoftwareKey.generate("Ed25519").public, "d": "AAAA"}))
    (stick / "galley.yaml").write_text(GOOD.replace("/run/galley-access/", "/etc/galley/"))
    (stick / "galley/ca.pem").rename(stick / "ca.pem")
    found = said(stick, capsys)
    assert found[0].startswith("galley/ann.json: holds a private key")
    assert found[1].startswith("vessel.kubeconfig: galley/vessel.kubeconfig is not there: put")


def test_a_file_at_the_top_is_told_with_where_it_belongs(stick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (stick / "galley/ca.pem").rename(stick / "ca.pem")
    place = "galley/ca.pem is not there: ca.pem is at the top, and belongs into the folder galley"
    assert said(stick, capsys) == [f"endpoint.ca_file: {place}"]


def test_nothing_of_the_stick_stays_here(stick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "temporary"
    place.mkdir()
    seen: list[set[str]] = []

    def says(daemon: str, command: object, cwd: Path, **_: object) -> list[str]:
        assert cwd.parent == place and cwd.stat().st_mode & 0o777 == 0o700
        seen.append({file.name for file in (cwd / "etc/galley").iterdir() if file.read_bytes()})
        return []

    monkeypatch.setattr(judge, "daemon_says", says)
    monkeypatch.setattr("tempfile.tempdir", str(place))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert desk.main(["check", str(stick)]) == 0
    everybody = {"ca.pem", "galley.yaml", "operators-1.json", "scenario.yaml"}
    assert seen == [everybody | {"enrol-code"}, everybody, everybody | {"vessel.token"}, everybody]
    assert list(place.iterdir()) == []
