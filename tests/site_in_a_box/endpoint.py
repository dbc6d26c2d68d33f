"""A real cloud endpoint as a process: certificates, first operator, TLS on a free port; and a small client of its API.

`Endpoint(folder).start()`, then `endpoint.operator()` for an `EndpointClient`. Everything lies in `folder`.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from agents.contracts.ids import node_id
from agents.core.assertion import client_assertion, enrolment_proof, token_form
from agents.core.jose import SoftwareKey
from tests.site_in_a_box.ports import free_port
from tests.site_in_a_box.process import Program

ISSUER = "https://cloud.galley.test"
READY_SECONDS = 20.0


class Endpoint:
    """One endpoint process with a store, certificates and an operator called `demo` in `folder`."""

    def __init__(
        self,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        issuer: str = ISSUER,
        names: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        self.folder = folder
        self.host = host
        self.port = port or free_port(host)
        self.health_port = free_port("127.0.0.1")
        self.issuer = issuer
        self.url = f"https://{host}:{self.port}"
        self.ca_file = folder / "certs" / "ca.pem"
        self.config = folder / "endpoint.yaml"
        self.operator_key_file = folder / "operator-key.json"
        self.command_key_file = folder / "operator-command-key.json"
        self._settings = settings
        self._names = [host, "localhost", *names]
        environ = {k: v for k, v in os.environ.items() if not k.startswith("GALLEY_") and k != "NOTIFY_SOCKET"}
        self.program = Program(
            "galley-endpoint",
            [sys.executable, "-m", "cloud_endpoint", "--config", self.config],
            log=folder / "endpoint.log",
            env=environ,
        )

    def prepare(self) -> None:
        """Certificates, configuration, first operator; again: nothing."""
        if self.operator_key_file.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        named = [part for name in self._names for part in ("--name", name)]
        # Where an earlier start was broken off before the operator was made, they are there, and nobody has them yet.
        self._run("make-certs", str(self.folder / "certs"), "--force", *named)
        own = {
            "tls": {
                "bind": self.host,
                "port": self.port,
                "cert_file": str(self.folder / "certs" / "server.pem"),
                "key_file": str(self.folder / "certs" / "server-key.pem"),
            },
            "issuer": self.issuer,
            "urls": [self.url],
            "health": {"bind": "127.0.0.1", "port": self.health_port},
            **self._settings,
        }
        state = {"state_dir": str(self.folder / "state"), "run_dir": str(self.folder / "run")}
        self.config.write_text(yaml.safe_dump({"v": 1, "node": state, "cloud_endpoint": own}))
        keys = ["--key-out", str(self.operator_key_file), "--command-key-out", str(self.command_key_file)]
        scopes = "admin,fleet:read,remedy:execute"
        self._run("operator", "add", "demo", *keys, "--scopes", scopes, "--config", str(self.config))

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "cloud_endpoint", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            env=self.program.env,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"galley-endpoint {arguments[0]}: {done.stderr}")

    def start(self) -> None:
        """Prepares, starts, and waits until it serves."""
        self.prepare()
        self.program.start()
        self.program.wait_ready(self._serves, seconds=READY_SECONDS, what="serving")

    def store_atlas(self, site: str, atlas: dict[str, str]) -> None:
        """Puts a site's Atlas straight into the store, as an older version may have, that took any."""
        store = self.folder / "state/galley-endpoint/endpoint.db"
        with contextlib.closing(sqlite3.connect(store, timeout=20)) as connection, connection:
            value = json.dumps({"branch": "main", "path": ".", "credential": "none"} | atlas)
            connection.execute("UPDATE sites SET atlas = ?, generation = generation + 1 WHERE site = ?", (value, site))

    def _serves(self) -> bool:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        try:
            with (
                socket.create_connection((self.host, self.port), timeout=1) as plain,
                context.wrap_socket(plain, server_hostname=self.host),
            ):
                return True
        except OSError:
            return False

    def stop(self) -> None:
        """SIGTERM, and waits."""
        self.program.stop()

    def write_profile(self, file: Path) -> None:
        """Who the operator `demo` is, for `galley --profile FILE`."""
        profile = {
            "url": self.url, "issuer": self.issuer, "ca_file": str(self.ca_file), "operator": "demo",
            "key_file": str(self.operator_key_file),
        }  # fmt: skip
        file.write_text(yaml.safe_dump(profile))

    def key(self, file: Path) -> SoftwareKey:
        """A private key from a file that this harness made."""
        return SoftwareKey(json.loads(file.read_text()))

    @contextlib.asynccontextmanager
    async def operator(self) -> AsyncIterator[EndpointClient]:
        """A client that is the operator `demo`."""
        async with self.client("op:demo", self.key(self.operator_key_file)) as client:
            yield client

    @contextlib.asynccontextmanager
    async def client(self, name: str, key: SoftwareKey, *, keep_alive: bool = False) -> AsyncIterator[EndpointClient]:
        """A client with a name and a key; log in by `login(scope)`. Without `keep_alive` a restart does not show."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        connector = aiohttp.TCPConnector(ssl=context, force_close=not keep_alive)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=40)) as session:
            yield EndpointClient(self, session, name, key)


class EndpointClient:
    """Speaks the API as one client. `request` answers status and JSON (bytes where it is none)."""

    def __init__(self, endpoint: Endpoint, session: aiohttp.ClientSession, name: str, key: SoftwareKey) -> None:
        self.endpoint = endpoint
        self.session = session
        self.name = name
        self.key = key
        self.tokens: dict[str, str] = {}

    def assertion(self, **changes: Any) -> str:
        """A good assertion, or one with `client`, `issuer`, `now`, `jti`, `lifetime` changed."""
        values = {"now": int(time.time()), "jti": secrets.token_urlsafe(16), "lifetime": 60, **changes}
        client, issuer = values.pop("client", self.name), values.pop("issuer", self.endpoint.issuer)
        return client_assertion(client, issuer, self.key, **values)

    async def token(self, scope: str, **form: str) -> tuple[int, Any]:
        """POST /v1/token; `form` replaces fields."""
        fields = token_form(
            self.name, self.endpoint.issuer, self.key, scope, now=int(time.time()), jti=secrets.token_urlsafe(16)
        )
        return await self.request("POST", "/v1/token", data={**fields, **form})

    async def login(self, scope: str = "") -> str:
        """A token with that scope, kept until it is asked for anew."""
        status, body = await self.token(scope)
        if status != 200:
            raise RuntimeError(f"login: {status} {body}")
        self.tokens[scope] = body["access_token"]
        return self.tokens[scope]

    async def call(self, method: str, path: str, body: Any = None, *, scope: str = "", ok: bool = True) -> Any:
        """An authenticated request (logs in when needed); raises on an error status unless `ok` is False, where it
        answers `(status, body)`."""
        token = self.tokens.get(scope) or await self.login(scope)
        arguments = {} if body is None else {"json": body}
        status, answer = await self.request(method, path, token=token, **arguments)
        if not ok:
            return status, answer
        if status >= 400:
            raise RuntimeError(f"{method} {path}: {status} {answer}")
        return answer

    async def request(self, method: str, path: str, *, token: str | None = None, **arguments: Any) -> tuple[int, Any]:
        """One request: status and body."""
        headers = {**arguments.pop("headers", {})}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        async with self.session.request(method, self.endpoint.url + path, headers=headers, **arguments) as answer:
            body = await answer.read()
            return answer.status, json.loads(body) if "json" in answer.content_type else body

    # What an operator does.

    async def put_site(
        self, site: str, *, labels: dict[str, str] | None = None, atlas: dict[str, str] | None = None
    ) -> Any:
        """Makes or changes a site."""
        return await self.call("PUT", f"/v1/admin/sites/{site}", {"labels": labels or {}, "atlas": atlas})

    async def ship(
        self,
        hardware_id: str,
        site: str,
        name: str,
        *,
        address: str = "",
        code: str = "",
        ek_hash: str = "",
        entry: Any = None,
    ) -> str:
        """Puts a device on the shipping list and answers its one-time code; with `ek_hash` its TPM is the proof.
        `entry`: the same, signed by an operator."""
        body = {"hardware_id": hardware_id, "site": site, "name": name, "address": address, "code": code}
        if ek_hash:
            body |= {"proof": "tpm", "ek_hash": ek_hash}
        if entry is not None:
            body |= {"entry": entry}
        return str((await self.call("POST", "/v1/admin/shipping", body))["code"])

    # What a device does.

    def enrol_request(self, hardware_id: str, sealing: SoftwareKey, code: str = "") -> dict[str, Any]:
        """The body of POST /v1/enrol with this client's key."""
        proof = enrolment_proof(hardware_id, self.endpoint.issuer, self.key, sealing.public, now=int(time.time()))
        return {
            "v": 1,
            "hardware_id": hardware_id,
            "signing": self.key.public,
            "sealing": sealing.public,
            "proof": proof,
            "code": code,
        }

    async def enrol(self, hardware_id: str, code: str = "", sealing: SoftwareKey | None = None) -> tuple[int, Any]:
        """Asks to join and takes the node's name."""
        body = self.enrol_request(hardware_id, sealing or SoftwareKey.generate(), code)
        status, answer = await self.request("POST", "/v1/enrol", json=body)
        self.name = node_id(hardware_id)
        return status, answer
