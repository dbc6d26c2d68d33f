"""A site's control plane on loopback: kube-apiserver, kube-controller-manager and kube-scheduler.

The API server can be killed and started again at its address, as fault tests need; what it stores is in
etcd. Every API call is in `audit.log` (see kube_audit).
"""

from __future__ import annotations

import http.client
import ssl
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from tests.site_in_a_box.kube_certs import Authority, service_account_keys
from tests.site_in_a_box.ports import free_port
from tests.site_in_a_box.process import Program, stop_all

READY_SECONDS = 120
SERVICE_RANGE = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"
ADMIN = ("admin", ("system:masters",))
CONTROLLER_MANAGER = ("system:kube-controller-manager", ())
SCHEDULER = ("system:kube-scheduler", ())
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  nonResourceURLs: ["/healthz*", "/livez*", "/readyz*"]
- level: Metadata
"""


class ControlPlane:
    """The processes of one control plane below `folder`, with a CA, keys and kubeconfigs of its own.

    `node_grace_seconds`: how long a node's Lease may be old before the node counts as gone. `names`: what else the
    API server's certificate is for.
    """

    def __init__(
        self,
        binaries: Path,
        folder: Path,
        etcd_url: str,
        *,
        name: str,
        host: str = "127.0.0.1",
        audit: bool = True,
        node_grace_seconds: int = 50,
        names: Sequence[str] = (),
    ) -> None:
        self.binaries = binaries
        self.folder = folder
        self.name = name
        self.host = host
        self.port = free_port(host)
        self.url = f"https://{host}:{self.port}"
        self.authority = Authority(folder / "pki", f"{name} cluster CA")
        self.ca_file = self.authority.ca_file
        self.kubeconfig = self.authority.kubeconfig(self.url, *ADMIN)
        self.audit_log = folder / "audit.log" if audit else None
        self._node_grace_seconds = node_grace_seconds
        self._names = names
        # A name of its own for ever, so that a site started anew under its old name begins empty.
        self._prefix = f"/{name}-{uuid.uuid4().hex[:8]}"
        self._trust = self._client_context()
        self.apiserver = Program("kube-apiserver", self._apiserver_command(etcd_url), log=folder / "kube-apiserver.log")
        self.controller_manager = Program(
            "kube-controller-manager", self._controller_command(), log=folder / "kube-controller-manager.log"
        )
        self.scheduler = Program("kube-scheduler", self._scheduler_command(), log=folder / "kube-scheduler.log")

    # -- life --------------------------------------------------------------------------------------

    def start(self, *, controllers: bool = True) -> None:
        """Starts all (or the API server alone) and waits until it works. StartError when it does not."""
        try:
            self.start_apiserver()
            if controllers:
                self.controller_manager.start()
                self.scheduler.start()
                self.controller_manager.wait_ready(
                    self._accounts_made, seconds=READY_SECONDS, what="making service accounts"
                )
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Stops all, the API server last; its clients' watches end with it."""
        stop_all([self.scheduler, self.controller_manager], grace=3)
        self.apiserver.stop(grace=3)

    def kill(self) -> None:
        """SIGKILL for all of them."""
        for program in self.programs:
            program.kill()

    @property
    def programs(self) -> list[Program]:
        """The programs, the API server first."""
        return [self.apiserver, self.controller_manager, self.scheduler]

    def start_apiserver(self) -> None:
        """Starts the API server, the first time or again, and waits until it is ready."""
        self.apiserver.start()
        self.apiserver.wait_ready(self.is_ready, seconds=READY_SECONDS)

    def kill_apiserver(self) -> None:
        """SIGKILL for the API server alone; `start_apiserver` brings it back at its address."""
        self.apiserver.kill()

    def stop_apiserver(self) -> None:
        """SIGTERM for the API server alone."""
        self.apiserver.stop(grace=5)

    # -- looking -----------------------------------------------------------------------------------

    def is_ready(self) -> bool:
        """Whether `/readyz` says so at this moment."""
        return self.get_status("/readyz") == 200

    def get_status(self, path: str) -> int:
        """The HTTP status of a GET as the administrator; 0 when nothing answers."""
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=5, context=self._trust)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def kubectl(
        self, *arguments: str, stdin: str | None = None, timeout: float = 60, kubeconfig: Path | None = None
    ) -> str:
        """Runs kubectl as the administrator, or by another kubeconfig; returns what it prints.

        Raises KubectlError with its message when it fails, subprocess.TimeoutExpired after `timeout` s.
        """
        done = subprocess.run(
            [self.binaries / "kubectl", f"--kubeconfig={kubeconfig or self.kubeconfig}", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "KUBECACHEDIR": str(self.folder / "kubectl")},
        )
        if done.returncode != 0:
            raise KubectlError(done.returncode, arguments, done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig whose client certificate is this user in these groups."""
        return self.authority.kubeconfig(self.url, user, groups)

    def _accounts_made(self) -> bool:
        # Pods are refused until the controller-manager has made what each of them mounts.
        return all(
            self.get_status(f"/api/v1/namespaces/default/{path}") == 200
            for path in ("serviceaccounts/default", "configmaps/kube-root-ca.crt")
        )

    def _client_context(self) -> ssl.SSLContext:
        certificate, key = self.authority.client("harness", *ADMIN)
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.load_cert_chain(certificate, key)
        return context

    # -- command lines -----------------------------------------------------------------------------

    def _apiserver_command(self, etcd_url: str) -> list[str]:
        hosts = [self.host, SERVICE_ADDRESS, "localhost", "kubernetes", "kubernetes.default"]
        certificate, key = self.authority.serving("apiserver", [*hosts, "kubernetes.default.svc", *self._names])
        self._account_key, account_public = service_account_keys(self.authority.folder)
        kubelet_certificate, kubelet_key = self.authority.client(
            "apiserver-kubelet-client", "kube-apiserver-kubelet-client", ["system:masters"]
        )
        return [
            str(self.binaries / "kube-apiserver"),
            f"--bind-address={self.host}",
            f"--advertise-address={self.host}",
            f"--secure-port={self.port}",
            f"--etcd-servers={etcd_url}",
            f"--etcd-prefix={self._prefix}",
            f"--client-ca-file={self.ca_file}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            f"--kubelet-client-certificate={kubelet_certificate}",
            f"--kubelet-client-key={kubelet_key}",
            f"--kubelet-certificate-authority={self.ca_file}",
            "--kubelet-preferred-address-types=InternalIP,Hostname",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--enable-bootstrap-token-auth",
            "--endpoint-reconciler-type=none",
            "--allow-privileged",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            f"--service-account-issuer=https://{self.name}.galley.test",
            f"--service-account-key-file={account_public}",
            f"--service-account-signing-key-file={self._account_key}",
            "--profiling=false",
            *self._audit_flags(),
        ]

    def _audit_flags(self) -> list[str]:
        if self.audit_log is None:
            return []
        policy = self.folder / "audit-policy.yaml"
        policy.write_text(AUDIT_POLICY)
        # blocking: a call that was answered is in the file, so counts need no waiting.
        return [f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}", "--audit-log-mode=blocking"]

    def _controller_command(self) -> list[str]:
        return [
            str(self.binaries / "kube-controller-manager"),
            f"--kubeconfig={self.kubeconfig_for(*CONTROLLER_MANAGER)}",
            "--secure-port=0",
            "--leader-elect=false",
            "--use-service-account-credentials",
            f"--service-account-private-key-file={self._account_key}",
            f"--root-ca-file={self.ca_file}",
            f"--cluster-signing-cert-file={self.ca_file}",
            f"--cluster-signing-key-file={self.authority.ca_key_file}",
            f"--node-monitor-grace-period={self._node_grace_seconds}s",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            "--profiling=false",
        ]

    def _scheduler_command(self) -> list[str]:
        return [
            str(self.binaries / "kube-scheduler"),
            f"--kubeconfig={self.kubeconfig_for(*SCHEDULER)}",
            "--secure-port=0",
            "--leader-elect=false",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            "--profiling=false",
        ]


class KubectlError(Exception):
    """kubectl failed; the text is what it said."""

    def __init__(self, status: int, arguments: Sequence[str], said: str) -> None:
        super().__init__(f"kubectl {' '.join(arguments)}: exit status {status}: {said}")
        self.status = status
        self.said = said
