"""What `galley-endpoint --check-config` finds beyond types: files that cannot be used, a health port for strangers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from agents.core.jose import SoftwareKey
from agents.core.settings import build
from cloud_endpoint import keyfile
from cloud_endpoint.check import check
from cloud_endpoint.settings import EndpointOwn
from tests.fakes.endpoint import make_certificate


def found(own: dict[str, Any]) -> list[str]:
    return check(build([("galley.yaml", {"v": 1, "cloud_endpoint": own})], {}, "cloud_endpoint", EndpointOwn))


def good(folder: Path, **more: Any) -> dict[str, Any]:
    cert, key = make_certificate(folder, "server")
    return {"tls": {"cert_file": str(cert), "key_file": str(key)}, "issuer": "https://cloud.test", **more}


def test_good_files_pass_and_keys_may_be_made_at_the_start(tmp_path: Path) -> None:
    assert found(good(tmp_path, token_key_file=str(tmp_path / "made-later.json"))) == []


def test_every_unusable_file_is_named_with_its_setting(tmp_path: Path) -> None:
    own = good(tmp_path, health={"bind": "0.0.0.0", "port": 8080}, git={"credential_file": str(tmp_path / "none.json")})
    keyfile.create(tmp_path / "open.json", SoftwareKey.generate())
    (tmp_path / "open.json").chmod(0o644)
    (tmp_path / "empty.json").touch(0o600)
    own |= {"token_key_file": str(tmp_path / "open.json"), "command_key_file": str(tmp_path / "empty.json")}
    own["tls"]["key_file"] = str(tmp_path / "no.key")
    problems = found(own)
    assert [problem.split(": ")[0] for problem in problems] == [
        "cloud_endpoint.health.bind",
        "cloud_endpoint.tls.key_file",
        "cloud_endpoint.token_key_file",
        "cloud_endpoint.command_key_file",
        "cloud_endpoint.git.credential_file",
    ]
    assert all(str(tmp_path) in problem for problem in problems[1:])


def test_a_certificate_of_another_key(tmp_path: Path) -> None:
    own = good(tmp_path)
    own["tls"]["key_file"] = str(make_certificate(tmp_path, "other")[1])
    (problem,) = found(own)
    assert problem.startswith("cloud_endpoint.tls.cert_file: ") and "belongs" in problem


def test_the_command_says_it_and_ends_with_78(tmp_path: Path) -> None:
    own = {"tls": {"cert_file": "/nonexistent/a.pem", "key_file": "/nonexistent/b.pem"}, "issuer": "https://c.test"}
    (tmp_path / "galley.yaml").write_text(yaml.safe_dump({"v": 1, "cloud_endpoint": own}))
    command = [sys.executable, "-m", "cloud_endpoint", "--config", str(tmp_path / "galley.yaml"), "--check-config"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 78
    assert "cloud_endpoint.tls.cert_file: /nonexistent/a.pem: cannot be read" in done.stderr
