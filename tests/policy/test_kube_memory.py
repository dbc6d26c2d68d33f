"""agents/io/kube.py keeps the generated models of kubernetes_asyncio out of memory, and is alone in importing it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("agents", "vessel", "heartbeat", "synthetic_client", "edge_commander", "cloud_endpoint")

PROBE = """
import json, re, sys
import agents.io.kube, agents.io.kube_import
rss = int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read()).group(1)) * 1024
modules = [m for m in sys.modules if m.startswith(("kubernetes_asyncio", "urllib3", "dateutil"))]
from kubernetes_asyncio.client import api_client
given = agents.io.kube_import.Configuration()
given.username, given.password = "a", "b"
later = [given.get_basic_auth_token(), api_client.parse("2026-01-01T00:00:00Z").year]
print(json.dumps({"rss": rss, "modules": modules, "later": later}))
"""


def test_models_are_not_loaded_and_memory_is_bounded() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
    )
    found = json.loads(done.stdout)
    heavy = [
        m
        for m in found["modules"]
        if m.startswith(("kubernetes_asyncio.client.models.", "kubernetes_asyncio.client.api."))
    ]
    assert heavy == []
    assert "kubernetes_asyncio.client.api_client" in found["modules"]
    assert [m for m in found["modules"] if not m.startswith("kubernetes_asyncio")] == []
    assert found["later"] == ["Basic YTpi", 2026], "what it does not load at once is there when it is asked"
    assert found["rss"] < 50e6, f"importing agents.io.kube takes {found['rss'] / 1e6:.1f} MB"


def test_only_kube_import_touches_kubernetes_asyncio() -> None:
    users = []
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                if any(name.split(".")[0] == "kubernetes_asyncio" for name in names):
                    users.append(str(file.relative_to(ROOT)))
    assert users == [], "import agents.io.kube instead"
