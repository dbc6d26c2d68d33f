"""The script in docs/api.md logs in and reads, as it stands there, against a real endpoint."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.site_in_a_box.endpoint import Endpoint

PAGE = Path(__file__).parents[3] / "docs" / "api.md"


def run(file: Path, *arguments: object) -> tuple[int, str]:
    """Exit status and output; nothing of the project is on the script's path."""
    command = [sys.executable, "-I", file, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


async def test_the_script_of_the_page_lists_the_sites(tmp_path: Path) -> None:
    (script,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    file = tmp_path / "login.py"
    file.write_text(script)
    endpoint = Endpoint(tmp_path / "endpoint")
    endpoint.start()
    try:
        async with endpoint.operator() as operator:
            await operator.put_site("store-01234")
        keys = (endpoint.operator_key_file, endpoint.ca_file)
        assert run(file, endpoint.url, endpoint.issuer, "demo", *keys) == (0, "['store-01234']")
        status, said = run(file, endpoint.url, endpoint.issuer, "nobody", *keys)
        assert status == 1 and "401" in said
    finally:
        endpoint.stop()
