"""Files beside a galley.yaml: keys that do not belong there, a code that is none, and where what is missing belongs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agents.core.jose import SoftwareKey
from edge_commander.machine_settings import apply, medium, named

KEY = SoftwareKey.generate("Ed25519")
PRIVATE = json.dumps({**KEY.public, "d": "AAAA"}).encode()
PEM = b"-----BEGIN %sPRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n"
CODE = "/etc/galley/enrol-code"
THERE = "galley/ca.pem is not there"
MUST = "must be /etc/galley/ca.pem, which is galley/ca.pem on the medium"
KUBECONFIG = b"apiVersion: v1\nkind: Config\nclusters: []\n"


@pytest.mark.parametrize(
    "data",
    [
        PRIVATE, b"\xef\xbb\xbf" + PRIVATE, b'{"v": 1, "operators": [%s]}' % PRIVATE, b'[{"keys": [%s]}]' % PRIVATE,
        PEM % b"", PEM % b"EC ", PEM % b"OPENSSH ", PEM % b"ENCRYPTED ", b"-----BEGIN CERTIFICATE-----\n" + PEM % b"",
        b'{"kty": "oct", "k": "c2VjcmV0"}',
    ],
)  # fmt: skip
def test_a_private_key_that_every_user_would_read_is_refused(data: bytes) -> None:
    (found,) = named.exposed({"ca.pem": data})
    assert found.startswith("galley/ca.pem: holds a private key") and "AAAA" not in found


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("operators-1.json", json.dumps({"v": 1, "operators": [KEY.public]}).encode()),
        ("ca.pem", b"-----BEGIN CERTIFICATE-----\n-----BEGIN PUBLIC KEY-----\n"),
        ("deep.json", b"[" * 100_000),
        ("vessel.kubeconfig", PEM % b""),
        ("SYNTHETIC.key", PEM % b""),
    ],
)
def test_public_keys_and_what_one_daemon_alone_may_read_are_let_be(name: str, data: bytes) -> None:
    assert named.exposed({name: data}) == []


def missing(file: str, found: Mapping[str, bytes], *top: str) -> str:
    line = f"endpoint.ca_file: {file}: cannot be read: No such file or directory"
    said = named.told(line, found, top)
    return "" if said == line else said.removeprefix("endpoint.ca_file: ")


@pytest.mark.parametrize(
    ("file", "there", "top", "said"),
    [
        ("/etc/galley/ca.pem", [], [], f"{THERE}: put ca.pem into the folder galley, beside galley.yaml"),
        ("/etc/galley/ca.pem", [], ["ca.pem"], f"{THERE}: ca.pem is at the top, and belongs into the folder galley"),
        ("/etc/galley/ca.pem", ["CA.pem"], [], f"{THERE}: galley/CA.pem must be called so"),
        ("/etc/galley/ca.pem", ["ca.pem.txt"], [], f"{THERE}: galley/ca.pem.txt must be called so"),
        ("ca.pem", [], [], f"ca.pem: {MUST}"),
        ("galley/ca.pem", ["ca.pem"], [], f"galley/ca.pem: {MUST}"),
        ("/mnt/galley/ca.pem", ["ca.pem"], [], f"/mnt/galley/ca.pem: {MUST}"),
        ("/etc/galley/sub/ca.pem", [], [], f"/etc/galley/sub/ca.pem: {MUST}"),
        ("/etc/ssl/other.pem", [], [], ""),
        ("/etc/galley/ca.pem", ["ca.pem"], [], ""),
    ],
)  # fmt: skip
def test_what_is_missing_is_told_with_its_place_on_the_medium(
    file: str, there: list[str], top: list[str], said: str
) -> None:
    assert missing(file, dict.fromkeys(there, b""), *top) == said


def test_other_daemons_words_for_it_are_known_and_other_problems_stay() -> None:
    for line in (
        "vessel.git_ca_file: /etc/galley/x: No such file or directory",
        "vessel.atlas.credential: the Git credential's file /etc/galley/x cannot be read: No such file or directory",
    ):
        assert named.told(line, {}, []).endswith(
            ": galley/x is not there: put x into the folder galley, beside galley.yaml"
        )
    other = "edge_commander.operators_file: /etc/galley/x: cannot be read: Permission denied"
    assert named.told(other, {}, []) == other


def desk(found: Mapping[str, bytes], *top: str, vessel: Any = None, **commander: Any) -> tuple[list[str], list[str]]:
    formed = {"distribution": {"kind": "kubeadm"}, **commander}
    return named.desk(found, {"v": 1, "edge_commander": formed, "vessel": vessel or {}}, top)


@pytest.mark.parametrize("code", [b"abcd-efgh-ijkl-mnop\n", b" ABCD-EFGH\r\n", b"hunter2!"])
def test_a_code_is_good(code: bytes) -> None:
    assert desk({"enrol-code": code}, enrol_code_file=CODE) == ([], [])


@pytest.mark.parametrize(
    ("found", "top", "said"),
    [
        ({"enrol-code": b" \n"}, [], "galley/enrol-code is empty"),
        ({"enrol-code": b"The code is abcd-efgh\n"}, [], "must hold the one-time code alone"),
        ({"enrol-code": b"abcd-efgh\nijkl-mnop\n"}, [], "must hold the one-time code alone"),
        ({"enrol-code": b"\xef\xbb\xbfabcd-efgh"}, [], "must hold the one-time code alone"),
        ({"enrol-code": "abcd-efgh".encode("utf-16")}, [], "must hold the one-time code alone"),
        ({"enrol-code.txt": b"abcd-efgh"}, [], "galley/enrol-code.txt must be called so"),
        ({"code.txt": b"abcd-efgh"}, [], "galley/code.txt must be called so"),
        ({}, ["enrol-code"], "enrol-code is at the top, and belongs into the folder galley"),
    ],
)
def test_a_code_that_enrols_nobody_is_a_problem_at_the_desk(found: dict[str, bytes], top: list[str], said: str) -> None:
    (wrong,), notes = desk(found, *top, enrol_code_file=CODE)
    assert wrong.startswith("edge_commander.enrol_code_file: ") and said in wrong and notes == []
    assert "efgh" not in wrong


def test_a_code_may_come_later_or_from_elsewhere_and_is_named_rightly() -> None:
    wrong, (note,) = desk({}, enrol_code_file=CODE)
    assert wrong == [] and note.startswith(
        "edge_commander.enrol_code_file: galley/enrol-code is not there: a new device"
    )
    assert desk({}, enrol_code_file="/run/code") == ([], [])
    (wrong,), _ = [*desk({"enrol-code": b"abcd"}, enrol_code_file="enrol-code")]
    assert "enrol-code: must be /etc/galley/enrol-code" in wrong
    wrong, (note,) = desk({"mine": b"abcd"}, enrol_code_file="/etc/galley/mine")
    assert wrong == [] and "every user of the node may read it" in note
    wrong, (note,) = desk({"enrol-code": b"abcd"})
    assert wrong == [] and "is read by nobody" in note


@pytest.mark.parametrize("distribution", [None, {}, {"kubeadm": {}}, "k3s"])
def test_a_node_that_will_never_begin_a_cluster_is_worth_a_word(distribution: Any) -> None:
    wrong, (note,) = desk({}, distribution=distribution)
    assert wrong == [] and note.startswith("edge_commander.distribution.kind is not set")


@pytest.mark.parametrize("formed", [{"kind": "existing"}, {"kubeconfig": "/run/x"}])
def test_a_cluster_that_is_there_already_is_none(formed: dict[str, str]) -> None:
    assert desk({}, distribution=formed) == ([], [])


@pytest.mark.parametrize(
    ("file", "found", "said"),
    [
        ("/run/galley-access/vessel.kubeconfig", {}, ""),
        ("/etc/galley/vessel.kubeconfig", {"vessel.kubeconfig": KUBECONFIG}, ""),
        ("/etc/galley/vessel.kubeconfig", {"vessel.kubeconfig": b'{"apiVersion":"v1","clusters":[]}'}, ""),
        ("/etc/galley/vessel.kubeconfig", {}, "galley/vessel.kubeconfig is not there"),
        (
            "/etc/galley/vessel.kubeconfig",
            {"vessel.kubeconfig": b"hello"},
            "galley/vessel.kubeconfig: is no kubeconfig",
        ),
        ("vessel.kubeconfig", {"vessel.kubeconfig": KUBECONFIG}, "must be /etc/galley/vessel.kubeconfig"),
        ("/etc/galley/heartbeat.k", {"heartbeat.k": KUBECONFIG}, "only galley-heartbeat may read it"),
    ],
)
def test_a_kubeconfig_that_is_named_is_one(file: str, found: dict[str, bytes], said: str) -> None:
    wrong, _ = desk(found, vessel={"kubeconfig": file})
    assert (not said and wrong == []) or (wrong[0].startswith("vessel.kubeconfig: ") and said in wrong[0]), wrong


@pytest.mark.parametrize("document", [None, [], "x", {"edge_commander": 5, "vessel": []}])
def test_a_document_that_is_none_ends_nothing(document: Any) -> None:
    assert named.desk({}, document)[0] == []


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("galley.yml", ": galley.yml must be called galley.yaml"),
        ("Galley.YAML", ": Galley.YAML must be called galley.yaml"),
        ("galley.yaml.txt", ": galley.yaml.txt must be called galley.yaml"),
        ("galley/galley.yaml", ": galley/galley.yaml belongs there, as galley.yaml"),
        ("galley.yaml/x", ""),
        ("galley/Galley.yml", ": galley/Galley.yml belongs there, as galley.yaml"),
        ("notes.txt", ""),
    ],
)
def test_what_is_there_in_the_place_of_a_galley_yaml_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, said: str
) -> None:
    """Also by the node, of the esp as of a stick."""
    stick = tmp_path / "stick"
    (stick / "galley").mkdir(parents=True)
    (stick / place).parent.mkdir(exist_ok=True)
    (stick / place).touch()
    assert medium.instead(stick) == said
    assert medium.instead(tmp_path / "gone") == ""
    monkeypatch.setattr(apply, "ETC", tmp_path / "etc")
    monkeypatch.setattr(apply, "NOTICES", tmp_path / "run/notices")
    assert apply.main([str(stick), "--name", "the esp"]) == 0
    told = apply.NOTICES.read_text() if said else ""
    assert told == (f"the esp: there is no galley.yaml at its top{said}\n" if said else "")
