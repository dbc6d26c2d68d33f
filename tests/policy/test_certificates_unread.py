"""No daemon of a node reads the system's certificates when it imports aiohttp, and nobody else is hindered from it; and
only the commander, which serves by it from its start on, does so before it is ready."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys

import pytest

PROBE = """
import importlib, json, ssl, sys, threading
importlib.import_module(sys.argv[1])
early = "aiohttp" in sys.modules
beside = []
class Beside:  # another thread makes a context while aiohttp is loaded
    def find_spec(self, name, path=None, target=None):
        if name == "aiohttp.connector":
            thread = threading.Thread(target=lambda: beside.append(ssl.create_default_context()))
            thread.start()
            thread.join()
sys.meta_path.insert(0, Beside())
from agents.io.http_library import load
load()
from aiohttp import connector
contexts = [connector._SSL_CONTEXT_VERIFIED, connector._SSL_CONTEXT_UNVERIFIED, ssl.create_default_context(), *beside]
verifies = contexts[0].verify_mode == ssl.CERT_REQUIRED and contexts[0].check_hostname
print(json.dumps([early, verifies, *(one.cert_store_stats()["x509_ca"] for one in contexts)]))
"""


@pytest.mark.parametrize("daemon", ["edge_commander", "heartbeat", "vessel", "synthetic_client"])
def test_aiohttp_reads_none_and_trusts_nobody_by_itself(daemon: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, f"{daemon}.__main__"], capture_output=True, text=True, check=True
    )
    whole = ssl.create_default_context().cert_store_stats()["x509_ca"]
    early = daemon == "edge_commander"
    assert json.loads(done.stdout) == [early, True, 0, 0, whole, *([] if early else [whole])]
