"""A host below a folder, with programs that stand in for k3s, systemctl and k3s-killall.sh.

They record each call, and follow k3s' rules for its datastore: an etcd that is there is used; without one `server`
joins, and `cluster-init`, or neither, begins a new cluster, which is recorded. systemd's asserts are followed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from agents.core.errors import Rejected, Retryable
from agents.core.ports import ApiProblem, Object
from agents.io.kube_errors import KubeRejected
from edge_commander.distribution.k3s import reference
from edge_commander.distribution.k3s.api import Etcd
from edge_commander.distribution.k3s.distribution import K3s
from edge_commander.distribution.k3s.facts import Marker
from edge_commander.distribution.k3s.files import GATE, MAY_FORM
from edge_commander.distribution.k3s.host import Host
from edge_commander.distribution.k3s.removal import EtcdMember
from edge_commander.distribution.k3s.settings import K3sSettings
from tests.fakes.k3s_kit import FakeClock

SYSTEMCTL = r"""#!/bin/sh
R={root}; echo "systemctl $*" >> $R/calls
verb=$1
case "$verb" in
show) if [ -e $R/active ]; then echo ActiveState=active; else echo ActiveState=inactive; fi
      if [ -e $R/enabled ]; then echo UnitFileState=enabled; else echo UnitFileState=disabled; fi;;
enable) echo enabled > $R/enabled;;
disable) rm -f $R/enabled;;
stop) rm -f $R/active;;
start|restart)
  if [ "$verb" = restart ]; then rm -f $R/active; fi
  if [ -e $R/{gate} ] && [ ! -d $R/{wal} ] && [ ! -e $R/{may_form} ]; then echo gated >> $R/events; exit 0; fi
  echo active > $R/active
  $R/bin/k3s server;;
esac
"""
K3S = r"""#!/bin/sh
R={root}; echo "k3s $*" >> $R/calls
case "$1 $2" in
"--version ") cat $R/version;;
"server ")
  if [ ! -d $R/{wal} ]; then
    if grep -q '^server:' $R/{config}; then
      if [ ! -e $R/cluster-answers ]; then echo join-failed >> $R/events; exit 0; fi
      echo joined >> $R/events
    else echo new-cluster >> $R/events; fi
    mkdir -p $R/{wal}
  fi
  echo kubeconfig > $R/{kubeconfig};;
"server --cluster-reset")
  if grep -q '^server:' $R/{config}; then echo 'cannot perform cluster-reset while server URL is set' >&2; exit 1; fi
  rm -rf $R/{etcd}/etcd; mkdir -p $R/{wal}; echo "restored ${{3#*=}}" >> $R/events;;
"etcd-snapshot save")
  n=$(cat $R/clock 2>/dev/null || echo 1000); echo $((n+1)) > $R/clock
  cp $R/snapshot $R/{snapshots}/$4-nuc-1-$n;;
"certificate rotate") echo rotated >> $R/events;;
esac
if [ -e $R/k3s-fails ]; then echo "token=abc failed" >&2; exit 1; fi
"""
KILLALL = "#!/bin/sh\necho killall >> {root}/calls\n"


class World:
    """`nodes`, `members`: what the API server and etcd hold beyond this node's own."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.marker = folder / "ident" / "k3s.json"
        self.root.mkdir()
        self.marker.parent.mkdir()
        (self.root / "bin").mkdir()
        self.settings = K3sSettings(binary="/bin/k3s", killall="/bin/killall", snapshot_dir="/keep/k3s")
        names = {name: reference.path(name).lstrip("/") for name in ("wal", "config", "kubeconfig", "etcd")}
        names |= {"gate": GATE.lstrip("/"), "may_form": MAY_FORM.lstrip("/"), "snapshots": "keep/k3s/etcd"}
        for name, text in (("systemctl", SYSTEMCTL), ("k3s", K3S), ("killall", KILLALL)):
            self.program(f"bin/{name}", text.format(root=self.root, **names))
        self.say_version("v1.33.1+k3s1")
        (self.root / "snapshot").write_bytes(whole_snapshot())
        self.clock = FakeClock()
        self.nodes: dict[str, Object] = {}
        self.members: list[EtcdMember] = []
        self.deleted: list[str] = []
        self.told: list[str] = []
        self.answers = True

    def program(self, name: str, text: str) -> None:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)

    def say_version(self, version: str) -> None:
        (self.root / "version").write_text(f"k3s version {version} (0123abcd)\ngo version go1.24\n")
        self.running = version

    def k3s(self) -> K3s:
        async def probe(address: str) -> bool:
            return (self.root / "cluster-answers").exists()

        host = Host(self.settings, self.root, str(self.root / "bin/systemctl"))
        return K3s(
            self.settings,
            self.marker,
            self._connect,
            self.clock,
            host=host,
            etcd=FakeEtcd(self),
            probe=probe,
            told=self.told.append,
        )

    async def _connect(self, kubeconfig: Path | None) -> FakeApi:
        return FakeApi(self)

    def place(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load(self.place(reference.path("config")).read_text())
        return found

    def lines(self, name: str) -> list[str]:
        file = self.root / name
        return file.read_text().splitlines() if file.exists() else []

    @property
    def events(self) -> list[str]:
        return self.lines("events")

    @property
    def calls(self) -> list[str]:
        return [line for line in self.lines("calls") if not line.startswith("systemctl show")]

    @property
    def active(self) -> bool:
        return (self.root / "active").exists()

    def start_unit(self) -> None:
        """As systemd does by itself: at boot, or after k3s ended."""
        os.spawnl(os.P_WAIT, str(self.root / "bin/systemctl"), "systemctl", "start")

    def power_cut(self) -> None:
        """/run is lost and nothing runs; what is enabled starts again."""
        shutil.rmtree(self.place("/run"), ignore_errors=True)
        (self.root / "active").unlink(missing_ok=True)
        if (self.root / "enabled").exists():
            self.start_unit()

    def lose_etcd(self) -> None:
        shutil.rmtree(self.place(reference.path("etcd")))

    def state(self) -> dict[str, object]:
        """What matters of the host, for comparison."""
        kept = [reference.path("etc"), "/etc/systemd", "/run", f"{reference.path('data')}/server/tls"]
        files = {
            str(file.relative_to(self.root)): (file.read_bytes(), file.stat().st_mode & 0o777)
            for folder in kept
            for file in sorted(self.place(folder).rglob("*"))
            if file.is_file()
        }
        from agents.io.state import StateFile

        return {
            "files": files,
            "marker": StateFile(self.marker, Marker).load(),
            "active": self.active,
            "enabled": (self.root / "enabled").exists(),
            "etcd": self.place(reference.path("wal")).is_dir(),
        }


class FakeApi:
    """The API server: its own Node is Ready while the unit runs on an etcd."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
        timeout: float = 10.0,
    ) -> Object:
        world = self.world
        if not world.answers or not world.active or not world.place(reference.path("wal")).is_dir():
            raise Retryable("API server: refused")
        name = path.rpartition("/")[2]
        own = world.config()["node-name"]
        nodes = {own: node(own, version=world.running), **world.nodes}
        if method == "DELETE":
            world.deleted.append(path)
            world.nodes.pop(name, None)
            return {}
        if method == "PATCH":
            assert body is not None and content_type == "application/merge-patch+json"
            world.nodes[name]["metadata"]["annotations"] |= body["metadata"]["annotations"]
            FakeEtcd(world).obey(name)
            return {}
        if path == "/api/v1/nodes":
            return {"items": list(nodes.values())}
        if name in nodes:
            return nodes[name]
        raise KubeRejected(ApiProblem(status=404, reason="NotFound", message="not found"))

    async def aclose(self) -> None: ...


class FakeEtcd(Etcd):
    """etcd; `obey` is k3s' controller, which takes a member out when its Node asks for it."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def members(self) -> list[EtcdMember]:
        return list(self.world.members)

    async def remove(self, id: str) -> None:
        if not any(one.id == id for one in self.world.members):
            raise Rejected(f"no member {id}")
        self.world.members = [one for one in self.world.members if one.id != id]

    def obey(self, name: str) -> None:
        annotations = self.world.nodes[name]["metadata"]["annotations"]
        member = annotations.pop(reference.name("etcd-member"))
        self.world.members = [one for one in self.world.members if one.name != member]
        annotations[reference.name("etcd-removed")] = member


def node(name: str, *, ready: bool = True, version: str = "v1.33.1+k3s1", member: str = "", voter: str = "") -> Object:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    if voter:
        conditions.append({"type": reference.name("etcd-voter"), "status": voter})
    annotations = {reference.name("etcd-member"): member} if member else {}
    return {
        "metadata": {"name": name, "annotations": annotations},
        "status": {"conditions": conditions, "nodeInfo": {"kubeletVersion": version}},
    }


def whole_snapshot(fill: bytes = b"s") -> bytes:
    database = fill * 4096
    return database + hashlib.sha256(database).digest()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is cut here for real, and a busy disk takes longer for it than all the rest. That a file is synced is
    tested with StateFile, whose write_durably is used here too."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
