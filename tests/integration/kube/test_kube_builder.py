"""The builder's cache, lock and refusals, with a stand-in for the Go command that only writes files.

That the real build works is shown by every test that starts what it built.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.site_in_a_box import go_toolchain, kube_build

REPOSITORY = Path(__file__).resolve().parents[3]
GO = """#!/bin/sh
echo "$@" >> "$FAKE_LOG"
case "$1" in
env) echo "${FAKE_VERSION:-go1.26.8}";;
mod) ;;
list) echo "$FAKE_MODULE";;
build)
  mkdir -p "$GOCACHE"; touch "$GOCACHE/object"
  test -z "$FAKE_SLOW" || sleep "$FAKE_SLOW"
  for last; do :; done
  case "$last" in *"$FAKE_FAILS") echo "cannot find module providing $last" >&2; exit 1;; esac
  while [ "$1" != -o ]; do shift; done
  printf '#!/bin/sh\\n' > "$2"; chmod +x "$2";;
esac
"""


class Fake:
    """A folder with a stand-in `go`, and the environment in which it is found."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "calls"
        self.cache = folder / "cache"
        (folder / "bin").mkdir()
        go = folder / "bin" / "go"
        go.write_text(GO)
        go.chmod(0o755)
        for stages in kube_build.STAGE_SETS:
            module = folder / "module" / "kustomize" / "stage" / stages
            module.mkdir(parents=True)
            (module / "stage.yaml").write_text("kind: Stage\n")
            (module / "kustomization.yaml").write_text("kind: Kustomization\n")
        self.env = {
            "PATH": f"{folder / 'bin'}:/usr/bin:/bin",
            "PYTHONPATH": str(REPOSITORY),
            "GALLEY_CACHE": str(self.cache),
            "FAKE_LOG": str(self.log),
            "FAKE_MODULE": str(folder / "module"),
            "FAKE_FAILS": "nothing",
            "PIP_NO_INDEX": "1",
        }

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.site_in_a_box.kube_build", *arguments],
            env=self.env | env,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **env: str) -> tuple[int, str, str]:
        with self.start(*arguments, **env) as process:
            out, error = process.communicate(timeout=60)
        return process.returncode, out, error

    def builds(self) -> list[str]:
        return [line.split()[-1] for line in self.log.read_text().splitlines() if line.startswith("build")]


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


def test_builds_once_and_prints_the_directory_last(fake: Fake) -> None:
    status, out, error = fake.run()
    assert (status, error) == (0, "")
    place = Path(out.splitlines()[-1])
    assert place.parent == fake.cache
    assert {file.name for file in place.iterdir()} == {*kube_build.EVERYTHING, "stages", "build.json"}
    assert sorted(file.name for file in (place / "stages").iterdir()) == [
        "node-fast-stage.yaml",
        "node-heartbeat-with-lease-stage.yaml",
        "pod-fast-stage.yaml",
    ]
    assert "[2/10] kube-apiserver ... expected about" in out
    assert len(fake.builds()) == 10
    assert not (fake.cache / "go-build").exists(), "two gigabytes that serve nobody"
    assert fake.run()[1].splitlines() == [str(place)]
    assert len(fake.builds()) == 10


def test_the_demo_needs_no_kubelet_and_a_later_test_adds_it(fake: Fake) -> None:
    assert fake.run("--without-kubelet")[0] == 0
    assert len(fake.builds()) == 6
    assert fake.run()[0] == 0
    assert [one.rpartition("/cmd/")[2] for one in fake.builds()[6:8]] == ["kubelet", "kubeadm"]
    assert fake.builds()[8:] == ["go.etcd.io/etcd/etcdctl/v3", "go.etcd.io/etcd/etcdutl/v3"]


def test_a_failure_names_the_cause_and_keeps_what_was_built(fake: Fake) -> None:
    status, _, error = fake.run(FAKE_FAILS="kube-scheduler")
    assert status == 1
    assert "cannot find module providing k8s.io/kubernetes/cmd/kube-scheduler" in error
    assert "kept" in error
    assert "GOPROXY" in error
    assert (fake.cache / "go-build" / "object").exists()
    assert fake.run()[0] == 0
    assert fake.builds().count("k8s.io/kubernetes/cmd/kube-apiserver") == 1
    assert fake.builds().count("k8s.io/kubernetes/cmd/kube-scheduler") == 2


def test_another_go_version_is_another_directory(fake: Fake) -> None:
    first = fake.run("--without-kubelet")[1].splitlines()[-1]
    second = fake.run("--without-kubelet", FAKE_VERSION="go1.27.0")[1].splitlines()[-1]
    assert first != second
    assert len(fake.builds()) == 12


def test_the_second_of_two_builds_waits_and_says_so(fake: Fake) -> None:
    with fake.start("--without-kubelet", FAKE_SLOW="0.3") as first:
        lock = fake.cache / "kube-build.lock"
        deadline = time.monotonic() + 30
        while not (lock.exists() and lock.read_text()):
            assert time.monotonic() < deadline, "the first build took no lock"
            time.sleep(0.02)
        with fake.start("--without-kubelet") as second:
            first_out, _ = first.communicate(timeout=60)
            second_out, _ = second.communicate(timeout=60)
    assert f"another build (process {first.pid}) holds" in second_out
    assert first_out.splitlines()[-1] == second_out.splitlines()[-1]
    assert len(fake.builds()) == 6


def test_a_toolchain_that_is_too_old_and_no_index_is_refused(fake: Fake) -> None:
    status, _, error = fake.run(FAKE_VERSION="go1.21.3")
    assert status == 1
    assert "Go 1.26 or newer is needed" in error
    assert "put it on PATH" in error
    assert fake.builds() == []


def test_a_full_disk_is_refused_before_anything_is_built(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in fake.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GALLEY_KUBE_BIN", raising=False)
    monkeypatch.setattr(kube_build, "FREE_BYTES_NEEDED", 10**18)
    assert kube_build.main([]) == 1
    said = capsys.readouterr().err
    assert "GB free and the build needs 1000000000 GB" in said
    assert "GALLEY_CACHE" in said
    assert fake.builds() == []


def test_a_given_directory_is_used_as_it_is_or_refused(fake: Fake, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    status, _, error = fake.run(GALLEY_KUBE_BIN=str(given))
    assert status == 1
    assert "lacks: etcd, kube-apiserver" in error
    for name in kube_build.EVERYTHING:
        (given / name).touch(mode=0o755)
    (given / "stages").mkdir()
    assert fake.run(GALLEY_KUBE_BIN=str(given)) == (0, f"{given}\n", "")
    assert not fake.log.exists()


@pytest.mark.parametrize(
    ("version", "enough"),
    [("go1.26.8", True), ("go1.27rc1", True), ("go2.0", True), ("go1.25.9", False), ("devel", False), ("", False)],
)
def test_go_versions(version: str, enough: bool) -> None:
    assert go_toolchain.new_enough(version) is enough


def test_the_committed_modules_are_complete() -> None:
    """Each program's package is a `tool` line of its module, and both have their sums."""
    for program in kube_build.PROGRAMS:
        module = REPOSITORY / "tools" / program.module
        assert f"\t{program.package}\n" in (module / "go.mod").read_text() or (
            f"tool {program.package}\n" in (module / "go.mod").read_text()
        )
        assert (module / "go.sum").stat().st_size > 10_000
