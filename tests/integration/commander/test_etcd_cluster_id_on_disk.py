"""The judge of "never two clusters" reads a real etcd's disk rightly: one id for each cluster, as etcd says it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.site_in_a_box.etcd_site.disk import cluster_ids, marked_cluster
from tests.site_in_a_box.kube_build import EVERYTHING, ensure
from tests.site_in_a_box.ports import free_port
from tests.site_in_a_box.process import Program


def made(folder: Path, token: str, data: Path) -> str:
    """Runs an etcd until it serves; the cluster's id, as etcd says it."""
    programs = ensure(EVERYTHING)
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    etcd = Program(
        "etcd",
        [str(programs / "etcd"), "--name=a", f"--data-dir={data}", f"--listen-client-urls={client}",
         f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
         f"--initial-cluster=a={peer}", f"--initial-cluster-token={token}"],
        log=folder / "etcd.log",
    )  # fmt: skip
    command = [str(programs / "etcdctl"), f"--endpoints={client}", "member", "list", "-w", "json"]

    def said() -> str:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout

    etcd.start()
    try:
        etcd.wait_ready(lambda: bool(said()), seconds=60, what="serving")
        return f"{json.loads(said())['header']['cluster_id']:x}"
    finally:
        etcd.stop()


def test_what_etcd_says_of_its_cluster_is_read_from_its_disk(tmp_path: Path) -> None:
    first = made(tmp_path, "one", tmp_path / "a")
    assert cluster_ids(tmp_path / "a") == {first}
    second = made(tmp_path, "two", tmp_path / "b")
    assert cluster_ids(tmp_path / "b") == {second} and first != second
    (log,) = (tmp_path / "b/member/wal").glob("0*.wal")
    log.rename(tmp_path / "a/member/wal/0000000000000009-0000000000000009.wal")
    assert cluster_ids(tmp_path / "a") == {first, second}


def test_a_disk_without_a_cluster_has_none(tmp_path: Path) -> None:
    assert cluster_ids(tmp_path) == set() and marked_cluster(tmp_path / "cluster.json") == ""
    (tmp_path / "member/wal").mkdir(parents=True)
    (tmp_path / "member/wal/0.wal").write_bytes(b"\0" * 64)  # cut while it was made
    (tmp_path / "member/wal/1.wal").write_bytes(b"")
    assert cluster_ids(tmp_path) == set()
