"""The command lines that `make demo` prints, tried as they stand, against an endpoint like the demo's."""

from __future__ import annotations

import asyncio
import shlex
import subprocess
from pathlib import Path

from tests.site_in_a_box.demo.__main__ import galley_questions
from tests.site_in_a_box.endpoint import Endpoint
from tests.site_in_a_box.node import BIN


async def put_site(endpoint: Endpoint, site: str) -> None:
    async with endpoint.operator() as operator:
        await operator.put_site(site, labels={"ring": "canary"})


def test_the_demo_prints_commands_that_work(tmp_path: Path) -> None:
    endpoint = Endpoint(tmp_path / "cloud")
    endpoint.start()
    try:
        asyncio.run(put_site(endpoint, "store-00001"))
        for question in galley_questions(endpoint, tmp_path / "galley.yaml", "store-00001"):
            galley, *words = shlex.split(question)
            assert galley == ".venv/bin/galley"
            command = [str(BIN / "galley"), *words]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            # A site without a node is not accepted yet.
            assert done.returncode == (3 if "verify" in words else 0), f"{question}: {done.stderr}"
            assert ("store-00001" in done.stdout) == ("site" in words), f"{question}: {done.stdout}"
    finally:
        endpoint.stop()
