"""etcd's keys and members over its JSON gateway, with client certificates. Blocking; every request is bounded."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.core.errors import Retryable

SECONDS = 5.0


@dataclass(frozen=True)
class Kept:
    """A key's value, and the revision at which it was last changed."""

    value: bytes
    revision: int


class Store:
    """One server of etcd. Raises Retryable whenever it does not answer, also where it has no quorum."""

    def __init__(self, address: str, ca: Path, cert: Path, key: Path) -> None:
        self.address = address
        try:
            self._context = ssl.create_default_context(cafile=str(ca))
            self._context.load_cert_chain(str(cert), str(key))
        except OSError as error:  # ssl.SSLError is one
            raise Retryable(f"{cert}: cannot be used: {error}") from None

    def ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One POST to the gateway."""
        link = http.client.HTTPSConnection(self.address, 2379, timeout=SECONDS, context=self._context)
        with contextlib.closing(link):
            try:
                link.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
                answer = link.getresponse()
                said = json.loads(answer.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise Retryable(f"etcd at {self.address}: {type(error).__name__}") from None
        if answer.status != 200:
            raise Retryable(f"etcd at {self.address}: {answer.status} {str(said.get('message'))[:200]}")
        return dict(said)

    def get(self, key: str) -> Kept | None:
        """As the quorum has it now."""
        found = self.ask("/v3/kv/range", {"key": _text(key)}).get("kvs") or []
        return _kept(found[0]) if found else None

    def under(self, prefix: str) -> list[Kept]:
        """All keys below a prefix that ends with a slash."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        found = self.ask("/v3/kv/range", {"key": _text(prefix), "range_end": _text(end)}).get("kvs") or []
        return [_kept(one) for one in found]

    def put(self, key: str, value: bytes, *, after: int) -> bool:
        """Compare and set: only where the key was last changed at revision `after` (0: is not there)."""
        put = {"request_put": {"key": _text(key), "value": base64.b64encode(value).decode()}}
        compare = {"key": _text(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(after)}
        return bool(self.ask("/v3/kv/txn", {"compare": [compare], "success": [put]}).get("succeeded"))

    def delete(self, key: str) -> None:
        """Nothing when it is not there."""
        self.ask("/v3/kv/deleterange", {"key": _text(key)})

    def members(self) -> list[dict[str, Any]]:
        """As etcd says: ID, name, peerURLs, isLearner."""
        return list(self.ask("/v3/cluster/member/list", {"linearizable": True}).get("members") or [])


def _text(key: str) -> str:
    return base64.b64encode(key.encode()).decode()


def _kept(found: dict[str, Any]) -> Kept:
    return Kept(base64.b64decode(found.get("value", "")), int(found["mod_revision"]))
