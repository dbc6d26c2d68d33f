"""`galley-endpoint make-certs`: never silently in place of a CA that nodes trust, and only for names of servers."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from cloud_endpoint.certs import CA, CERTIFICATE, KEY
from cloud_endpoint.local import run_local

FILES = (CA, CERTIFICATE, KEY)


def made(folder: Path, *more: str) -> int:
    return run_local("galley-endpoint", ["make-certs", str(folder), *more])


def content(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in FILES]


def test_it_says_what_it_wrote_and_until_when_that_is_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert made(tmp_path / "certs", "--name", "galley.example", "--name", "192.0.2.1") == 0
    said = capsys.readouterr().out
    server = x509.load_pem_x509_certificate((tmp_path / "certs" / CERTIFICATE).read_bytes())
    assert all(f"{tmp_path}/certs/{name}: " in said for name in FILES)
    assert "galley.example, 192.0.2.1" in said
    assert f"valid until {server.not_valid_after_utc:%Y-%m-%d %H:%M} UTC" in said
    assert 29 <= (server.not_valid_after_utc - datetime.now(UTC)).days <= 30


@pytest.mark.parametrize("left", FILES)
def test_a_second_time_is_refused_whichever_file_is_there(
    tmp_path: Path, left: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert made(tmp_path) == 0
    for name in set(FILES) - {left}:
        (tmp_path / name).unlink()
    before = (tmp_path / left).read_bytes()
    assert made(tmp_path) == 1
    said = capsys.readouterr().err
    assert f"{tmp_path}/{left}: exists already" in said and "--force" in said
    assert [one.name for one in tmp_path.iterdir()] == [left] and (tmp_path / left).read_bytes() == before


def test_force_replaces_all_and_leaves_the_key_private_and_its_owners(tmp_path: Path) -> None:
    assert made(tmp_path) == 0
    before = content(tmp_path)
    (tmp_path / KEY).chmod(0o644)
    if os.geteuid() == 0:
        os.chown(tmp_path / KEY, 12345, 12346)
    owner = (tmp_path / KEY).stat().st_uid
    assert made(tmp_path, "--force") == 0
    assert all(old != new for old, new in zip(before, content(tmp_path), strict=True))
    found = (tmp_path / KEY).stat()
    assert (found.st_mode & 0o777, found.st_uid) == (0o600, owner)


@pytest.mark.parametrize("name", ["bad name!", "", "a..b", "192.0.2", "-a", "x/y", "fe80::1%eth0", "a\n", "ä.example"])
def test_what_no_server_is_called_is_refused(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert made(tmp_path / "certs", f"--name={name}") == 1
    assert "is no DNS name" in capsys.readouterr().err
    assert not (tmp_path / "certs").exists()


@pytest.mark.parametrize(
    "name", ["galley.example", "localhost", "*.galley.example", "2001:db8::1", "nuc-1.1password.com"]
)
def test_what_a_server_may_be_called_is_in_its_certificate(tmp_path: Path, name: str) -> None:
    assert made(tmp_path, "--name", name) == 0
    server = x509.load_pem_x509_certificate((tmp_path / CERTIFICATE).read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert name in [str(one.value) for one in names]
