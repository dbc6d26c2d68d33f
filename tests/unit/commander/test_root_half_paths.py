"""Paths that root is given: a snapshot over the socket, a plan by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agents.core.errors import Rejected
from edge_commander.distribution.k3s.config import snapshots
from edge_commander.distribution.run import read_plan
from edge_commander.distribution.runner import elsewhere
from edge_commander.distribution.wire import Ask
from edge_commander.settings import DistributionSettings

KUBEADM = DistributionSettings(kind="kubeadm")
K3S = DistributionSettings(kind="k3s")
FOLDER = KUBEADM.kubeadm.snapshots_dir


@pytest.mark.parametrize(
    "path",
    [
        "/run/galley/mine",
        "/dev",
        FOLDER,
        f"{FOLDER}/",
        f"{FOLDER}/..",
        f"{FOLDER}/../galley-commander/mine",
        f"{FOLDER}-mine/one",
        "auto-1",
        f"{FOLDER}/a\0b",
    ],
)
def test_root_restores_no_folder_but_its_own(path: str) -> None:
    assert elsewhere(Ask(operation="restore", argument=path), KUBEADM) == f"restore takes a snapshot in {FOLDER}"
    assert elsewhere(Ask(operation="restore", argument=path), K3S)


def test_root_restores_what_it_saved_itself() -> None:
    assert not elsewhere(Ask(operation="restore", argument=f"{FOLDER}/auto-1"), KUBEADM)
    assert not elsewhere(Ask(operation="restore", argument=f"{snapshots(K3S.k3s)}/auto-1-nuc-1-1767225600"), K3S)
    assert not elsewhere(Ask(operation="upgrade", argument="1.36.3"), KUBEADM)


def test_a_plan_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "plan.json"
    file.write_text('{"site": "store-01234", "epoch": 1, "node": "nuc-1"}')
    file.chmod(0o600)
    assert read_plan(file).node == "nuc-1"
    real = os.fstat

    def foreign(descriptor: int) -> os.stat_result:
        found = list(real(descriptor))
        found[4] = 65534
        return os.stat_result(found)

    monkeypatch.setattr("edge_commander.distribution.run.os.fstat", foreign)
    with pytest.raises(Rejected, match=r"plan\.json.*uid 65534"):
        read_plan(file)


def test_a_pipe_for_a_plan_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "plan.json", 0o600)
    with pytest.raises(Rejected, match="not a file"):
        read_plan(tmp_path / "plan.json")
