"""What a NUC in QEMU finds beside itself: a real API server, and a real Git server with the Atlas of its site.

Both are on this machine's loopback; the guest reaches them at nuc.GATEWAY. Vessel's rights are its own account's, Edge
Commander's an administrator's. All methods block.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.site_in_a_box import kube_build
from tests.site_in_a_box.gitrepos import GitRepo
from tests.site_in_a_box.gitserver import GitServer
from tests.site_in_a_box.kube_etcd import Etcd
from tests.site_in_a_box.kube_site import KubeSite
from tests.site_in_a_box.nuc import GATEWAY

API, GIT = 6443, 9443
VESSEL = ("system:serviceaccount:galley-system:vessel", ("system:serviceaccounts",
                                                         "system:serviceaccounts:galley-system"))  # fmt: skip
APP = "apps/card/app.yaml"
CARD = "apps/card/card.yaml"


class NucCluster:
    """Of one site. A context manager."""

    def __init__(self, folder: Path, site: str, tls: tuple[Path, Path]) -> None:
        """`tls`: certificate and key of the Git server."""
        self.folder = folder
        self.site = site
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(*tls)
        self._open = ExitStack()
        self._loop = asyncio.new_event_loop()
        self.git: GitServer | None = None
        self.api: KubeSite | None = None

    def __enter__(self) -> NucCluster:
        self.folder.mkdir()
        for part in ("git", "etcd"):
            (self.folder / part).mkdir()
        with ExitStack() as opening:
            self._start(opening)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _start(self, stack: ExitStack) -> None:
        thread = threading.Thread(target=self._loop.run_forever, name="the Git server", daemon=True)
        thread.start()
        stack.callback(lambda: (self._loop.call_soon_threadsafe(self._loop.stop), thread.join()))
        serving = GitServer.start(self.folder / "git", tls=self._tls)
        self.git = self._do(serving.__aenter__())
        stack.callback(lambda: self._do(serving.__aexit__(None, None, None)))
        self.repo = GitRepo(self.folder / "git", self.site)
        etcd = stack.enter_context(Etcd(kube_build.ensure(), self.folder / "etcd"))
        self.api = KubeSite(self.site, self.folder, etcd, controllers=False, audit=False, names=[GATEWAY])
        stack.enter_context(self.api)
        command = [sys.executable, "-m", "vessel", "bootstrap", "--kubeconfig", str(self.api.kubeconfig)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)

    def _do(self, what: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(60)

    @property
    def forward(self) -> dict[int, int]:
        """For the machine."""
        assert self.git is not None and self.api is not None
        return {API: self.api.port, GIT: self.git.port}

    @property
    def atlas(self) -> dict[str, str]:
        """Where the site's Atlas is, as the endpoint says it."""
        url = f"https://{GATEWAY}:{GIT}/{self.repo.bare.name}"
        return {"url": url, "branch": "main", "path": ".", "credential": "none"}

    @property
    def sections(self) -> dict[str, dict[str, Any]]:
        """Of the node's settings."""
        existing = {"kind": "existing", "kubeconfig": "/etc/galley/commander.kubeconfig"}
        return {
            "vessel": {
                "kubeconfig": "/etc/galley/vessel.kubeconfig", "git_ca_file": "/etc/galley/ca.pem", "poll_seconds": 5,
            },
            "edge_commander": {"distribution": existing},
        }  # fmt: skip

    def files(self) -> dict[str, Path]:
        """That go with them."""
        assert self.api is not None
        url = f"https://{GATEWAY}:{API}"
        found = {"vessel.kubeconfig": self.api.authority.kubeconfig(url, *VESSEL)}
        found["commander.kubeconfig"] = self.api.authority.kubeconfig(url, "operator", ["system:masters"])
        return found

    def commit(self, greeting: str) -> str:
        """The Atlas says that now; its revision."""
        card = {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "card", "namespace": "default"},
            "data": {"greeting": greeting},
        }  # fmt: skip
        files = {APP: "v: 1\nowner: a\nnamespace: default\n", CARD: json.dumps(card)}
        return self.repo.commit(files)

    def greeting(self) -> str:
        """What the cluster has; empty where nothing was applied."""
        assert self.api is not None
        found = json.loads(self.api.kubectl("get", "configmap", "-n", "default", "-o", "json"))
        cards = [one for one in found["items"] if one["metadata"]["name"] == "card"]
        return str(cards[0]["data"]["greeting"]) if cards else ""
