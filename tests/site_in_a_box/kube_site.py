"""A whole site's Kubernetes on this machine: control plane, and nodes played by KWOK. One class.

    with Etcd(binaries, folder) as etcd:
        with KubeSite("store-00001", folder, etcd, nodes=["nuc-a", "nuc-b", "nuc-c"]) as site:
            site.kubectl("get", "nodes")

All methods block; from an event loop use `async with` and `asyncio.to_thread`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.site_in_a_box import kube_audit, kube_build
from tests.site_in_a_box.kube_control_plane import ControlPlane
from tests.site_in_a_box.kube_etcd import Etcd
from tests.site_in_a_box.kube_kwok import Kwok
from tests.site_in_a_box.process import Program

log = logging.getLogger(__name__)


class KubeSite(ControlPlane):
    """One site's cluster below `parent/name`, storing in `etcd` under a prefix of its own.

    `nodes`: names of the nodes that KWOK plays; none: no KWOK. `controllers=False`: the API server
    alone (no Deployment rolls out, no namespace is finalised), which costs 300 MB instead of 550.
    `node_grace_seconds`: after how long a lost node counts as gone (Leases are renewed in time for it).
    `names`: what else its certificate is for.
    """

    def __init__(
        self,
        name: str,
        parent: Path,
        etcd: Etcd,
        *,
        nodes: Sequence[str] = (),
        controllers: bool = True,
        audit: bool = True,
        node_grace_seconds: int = 50,
        binaries: Path | None = None,
        host: str = "127.0.0.1",
        names: Sequence[str] = (),
    ) -> None:
        folder = parent / name
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(
            binaries or kube_build.ensure(),
            folder,
            etcd.url,
            name=name,
            host=host,
            audit=audit,
            node_grace_seconds=node_grace_seconds,
            names=names,
        )
        if nodes and not controllers:
            raise ValueError("nodes that are played need the controllers")
        self._controllers = controllers
        # kwok renews at a quarter of the duration; the controller-manager looks every 5 s.
        lease_seconds = max(4, min(40, node_grace_seconds * 3 // 4))
        self.kwok = Kwok(self, nodes, lease_seconds=lease_seconds) if nodes else None

    @property
    def programs(self) -> list[Program]:
        """All programs of this site."""
        kwok = [self.kwok.program] if self.kwok else []
        return [*super().programs, *kwok]

    def up(self) -> Self:
        """Starts everything; returns itself when the cluster works and its nodes are Ready."""
        try:
            self.start(controllers=self._controllers)
            if self.kwok:
                self.kwok.start()
        except BaseException:
            self.kill()
            raise
        log.info("site %s is up at %s", self.name, self.url)
        return self

    def down(self) -> None:
        """Stops everything of this site; etcd and the folder stay."""
        log.info("site %s used (PSS, MB): %s", self.name, self.memory())
        if self.kwok:
            self.kwok.program.stop(grace=2)
        self.stop()

    def memory(self) -> dict[str, int]:
        """Proportional set size of each running program in MB (10^6 bytes)."""
        return {program.name: program.pss_bytes() // 10**6 for program in self.programs if program.running}

    def audit_mark(self) -> int:
        """The place in the audit log that later counts can start from."""
        return self.audit_log.stat().st_size if self.audit_log and self.audit_log.exists() else 0

    def audit_calls(self, *, since: int = 0, user: str | None = None) -> list[kube_audit.Call]:
        """API calls answered (watches: begun) since the mark, of one user or of all."""
        if self.audit_log is None:
            raise RuntimeError("this site was started with audit=False")
        calls = kube_audit.read_calls(self.audit_log, since=since)
        return [call for call in calls if user is None or call.user == user]

    def audit_counts(self, *, since: int = 0, user: str | None = None) -> Counter[kube_audit.CallKind]:
        """Number of API calls by (user, verb, resource) since the mark."""
        return kube_audit.count(self.audit_calls(since=since, user=user))

    def token_for(self, namespace: str, account: str, *, seconds: int = 3600) -> str:
        """A bearer token of a service account that exists."""
        return self.kubectl("create", "token", account, "-n", namespace, f"--duration={seconds}s").strip()

    def wait_available(self, deployment: str, *, namespace: str = "default", seconds: int = 60) -> None:
        """Waits until a Deployment has rolled out; KubectlError when it does not in time."""
        self.kubectl(
            "rollout", "status", f"deployment/{deployment}", "-n", namespace, f"--timeout={seconds}s",
            timeout=seconds + 10,
        )  # fmt: skip

    def wait_namespace(self, name: str, *, seconds: float = 30) -> None:
        """Waits until pods can be made in a namespace: its default service account is there."""
        self.controller_manager.wait_ready(
            lambda: self.get_status(f"/api/v1/namespaces/{name}/serviceaccounts/default") == 200,
            seconds=seconds,
            what=f"making the service account of namespace {name}",
        )

    def __enter__(self) -> Self:
        return self.up()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.up)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.down)
