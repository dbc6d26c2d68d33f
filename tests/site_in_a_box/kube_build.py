"""Builds Kubernetes, etcd and KWOK once from `tools/`, into a cache outside the repository.

`python -m tests.site_in_a_box.kube_build` prints the directory of the programs as its last line.
Standard library only: this runs before the project's virtual environment exists.

The cache is `$GALLEY_CACHE` (default `~/.cache/galley`); a directory in it belongs to one hash of the
go.mod and go.sum files (they hold every version, KWOK's too), the build flags, the Go version and the
platform. Each program appears there by rename, so what is there is whole. `$GALLEY_KUBE_BIN` names a
directory of ready programs instead, and then nothing is built.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.site_in_a_box.go_toolchain import BuildError, Go, find_go

TOOLS = Path(__file__).resolve().parents[2] / "tools"
STAGES = "stages"
STAGE_SETS = ("node/fast", "node/heartbeat-with-lease", "pod/fast")
FREE_BYTES_NEEDED = 8 * 10**9
ONE_BUILD_LIMIT_S = 1800


@dataclass(frozen=True)
class Program:
    """One program to build: `package` of the module in `tools/<module>`, expected in `seconds` on 2 cores."""

    name: str
    module: str
    package: str
    seconds: int


PROGRAMS = (
    Program("etcd", "kube", "go.etcd.io/etcd/server/v3", 75),
    Program("kube-apiserver", "kube", "k8s.io/kubernetes/cmd/kube-apiserver", 250),
    Program("kube-controller-manager", "kube", "k8s.io/kubernetes/cmd/kube-controller-manager", 90),
    Program("kube-scheduler", "kube", "k8s.io/kubernetes/cmd/kube-scheduler", 10),
    Program("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok", 110),
    Program("kubectl", "kube", "k8s.io/kubernetes/cmd/kubectl", 45),
    Program("kubelet", "kube", "k8s.io/kubernetes/cmd/kubelet", 50),
    Program("kubeadm", "kube", "k8s.io/kubernetes/cmd/kubeadm", 25),
    Program("etcdctl", "kube", "go.etcd.io/etcd/etcdctl/v3", 15),
    Program("etcdutl", "kube", "go.etcd.io/etcd/etcdutl/v3", 10),
)
CONTROL_PLANE = tuple(p.name for p in PROGRAMS if p.name not in ("kubelet", "kubeadm", "etcdctl", "etcdutl"))
EVERYTHING = tuple(p.name for p in PROGRAMS)


def cache_root(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder that holds all that is built, outside the repository."""
    return Path(environ.get("GALLEY_CACHE") or "~/.cache/galley").expanduser()


def ensure(names: Sequence[str] = CONTROL_PLANE) -> Path:
    """Returns the directory that holds the named programs, building what is missing.

    Raises BuildError when a program is missing from `$GALLEY_KUBE_BIN`, when there is no toolchain, when
    the disk is nearly full, and when a build fails.
    """
    given = os.environ.get("GALLEY_KUBE_BIN")
    if given:
        return _checked(Path(given), names)
    cache = cache_root()
    go = find_go(cache)
    place = cache / f"kube-{_key(go)}"
    if not _missing(place, names):
        return place
    _require_space(cache)
    with _only_one(cache):
        _build(go, cache, place, _missing(place, names))
    return _checked(place, names)


def ready(names: Sequence[str] = CONTROL_PLANE) -> Path | None:
    """The directory when nothing has to be built, else None. Never builds and never installs."""
    try:
        given = os.environ.get("GALLEY_KUBE_BIN")
        if given:
            return _checked(Path(given), names)
        cache = cache_root()
        place = cache / f"kube-{_key(find_go(cache))}"
    except BuildError:
        return None
    return None if _missing(place, names) else place


def _missing(place: Path, names: Sequence[str]) -> list[str]:
    missing = [name for name in names if not os.access(place / name, os.X_OK)]
    if "kwok" in names and not (place / STAGES).is_dir() and "kwok" not in missing:
        missing.append("kwok")
    return missing


def _checked(place: Path, names: Sequence[str]) -> Path:
    missing = _missing(place, names)
    if missing:
        raise BuildError(f"{place} (from GALLEY_KUBE_BIN or the cache) lacks: {', '.join(missing)}")
    return place


def _key(go: Go) -> str:
    digest = hashlib.sha256()
    for module in ("kube", "kwok"):
        for name in ("go.mod", "go.sum"):
            digest.update((TOOLS / module / name).read_bytes())
    parts = [go.version, platform.machine(), *STAGE_SETS]
    for program in PROGRAMS:
        parts += [program.name, program.package, *_flags(program)]
    digest.update("\0".join(parts).encode())
    return digest.hexdigest()[:16]


def _version_of(module: str, path: str) -> str:
    found = re.search(rf"\b{re.escape(path)} (v\S+)", (TOOLS / module / "go.mod").read_text())
    if found is None:
        raise BuildError(f"tools/{module}/go.mod requires no {path}")
    return found[1]


def _flags(program: Program) -> list[str]:
    """Flags of `go build`: stripped, reproducible, and stamped as the release builds stamp versions."""
    stamps: dict[str, str] = {}
    if program.name == "kwok":
        stamps["sigs.k8s.io/kwok/pkg/consts.Version"] = _version_of("kwok", "sigs.k8s.io/kwok")
    elif not program.package.startswith("go.etcd.io/"):
        version = _version_of("kube", "k8s.io/kubernetes")
        major, minor = version.removeprefix("v").split(".")[:2]
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
            stamps |= {
                f"{package}.gitVersion": version,
                f"{package}.gitMajor": major,
                f"{package}.gitMinor": minor,
                f"{package}.gitTreeState": "clean",
            }
    ldflags = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in stamps.items())])
    return ["-p", "2", "-trimpath", "-buildvcs=false", "-ldflags", ldflags]


def _require_space(cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free
    if free < FREE_BYTES_NEEDED:
        raise BuildError(
            f"{cache} has {free / 1e9:.1f} GB free and the build needs {FREE_BYTES_NEEDED / 1e9:.0f} GB. "
            "Free some space, or set GALLEY_CACHE to a folder on a larger disk."
        )


@contextlib.contextmanager
def _only_one(cache: Path) -> Iterator[None]:
    """Holds the build lock; says so when another build is waited for."""
    with (cache / "kube-build.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            _say(f"another build (process {holder}) holds {lock.name}: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _build(go: Go, cache: Path, place: Path, names: Sequence[str]) -> None:
    wanted = [program for program in PROGRAMS if program.name in names]
    if not wanted:
        return
    place.mkdir(parents=True, exist_ok=True)
    total = sum(program.seconds for program in wanted)
    cores = os.cpu_count() or 1
    _say(f"building {len(wanted)} programs with {go.version} into {place}")
    _say(f"expected about {total / 60:.0f} min on 2 cores (this machine has {cores}); needed once only")
    go_cache = cache / "go-build"
    env = _environment(go_cache)
    for module in sorted({program.module for program in wanted}):
        _say(f"modules of tools/{module} ... expected about 60 s, nothing when they are there")
        _run([go.command, "mod", "download"], TOOLS / module, env)
    for number, program in enumerate(wanted, 1):
        _say(f"[{number}/{len(wanted)}] {program.name} ... expected about {program.seconds} s")
        began = time.monotonic()
        partial = place / f".{program.name}.partial"
        _run(
            [go.command, "build", *_flags(program), "-o", partial, program.package],
            TOOLS / program.module,
            env,
        )
        if program.name == "kwok":
            _copy_stages(go, place, env)
        partial.rename(place / program.name)
        _note(place, program.name, go, time.monotonic() - began)
    # Kept after a failure: the next try goes on from there. After success its 2 GB serve nobody.
    shutil.rmtree(go_cache, ignore_errors=True)


def _environment(go_cache: Path) -> dict[str, str]:
    fixed = {"GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    return {**os.environ, **fixed, "GOCACHE": str(go_cache)}


def _run(command: Sequence[str | Path], where: Path, env: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            command, cwd=where, env=env, capture_output=True, text=True, timeout=ONE_BUILD_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{_shown(command)} took longer than {ONE_BUILD_LIMIT_S} s") from error
    if done.returncode != 0:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-20:])
        raise BuildError(
            f"{_shown(command)} in {where} failed with exit status {done.returncode}:\n{tail}\n"
            "What was built so far is kept; run the command again. If modules could not be fetched, set "
            "GOPROXY to a Go module proxy you can reach."
        )
    return done.stdout


def _shown(command: Sequence[str | Path]) -> str:
    return " ".join([Path(command[0]).name, str(command[1]), str(command[-1])])


def _copy_stages(go: Go, place: Path, env: Mapping[str, str]) -> None:
    """Copies KWOK's stage files out of its module: kwok exits without stages."""
    listed = _run([go.command, "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"], TOOLS / "kwok", env)
    source = Path(listed.strip()) / "kustomize" / "stage"
    partial = place / f".{STAGES}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for folder in STAGE_SETS:
        for file in sorted((source / folder).glob("*.yaml")):
            if file.name != "kustomization.yaml":
                (partial / f"{folder.replace('/', '-')}-{file.name}").write_bytes(file.read_bytes())
    if not (place / STAGES).exists():
        partial.rename(place / STAGES)


def _note(place: Path, name: str, go: Go, seconds: float) -> None:
    record = place / "build.json"
    notes = json.loads(record.read_text()) if record.exists() else {}
    notes[name] = {"go": go.version, "seconds": round(seconds, 1)}
    partial = place / ".build.json.partial"
    partial.write_text(json.dumps(notes, indent=1))
    partial.rename(record)
    _say(f"      {name}: {seconds:.0f} s")


def _say(line: str) -> None:
    print(line, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """The command: builds what is missing, prints the directory last; 1 with a message on failure."""
    parser = argparse.ArgumentParser(prog="kube_build", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--without-kubelet", action="store_true", help="what the demo needs, and no more")
    options = parser.parse_args(argv)
    try:
        place = ensure(CONTROL_PLANE if options.without_kubelet else EVERYTHING)
    except BuildError as error:
        print(f"kube_build: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("kube_build: interrupted; what was built so far is kept", file=sys.stderr)
        return 130
    print(place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
