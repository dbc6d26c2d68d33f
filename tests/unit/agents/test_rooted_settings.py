"""Settings of another machine: what they name is looked for below a folder, and told as it stands in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.core.rooted import rooted
from agents.core.settings import Listener, Settings, build
from agents.supervise.daemon import Context, DaemonSpec, Loop, run_daemon


class Inner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    credential: str = "endpoint"


class Own(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"files": "named"}):
    file: str = ""
    files: list[str] = []
    by_name: dict[str, str] = {}
    inner: Inner | None = None
    health: Listener = Listener()


async def never(context: Context[Own]) -> Sequence[Loop]:
    raise AssertionError("a check builds nothing")


def check(settings: Settings[Own]) -> list[str]:
    return [f"vessel.named: {one}: is not there" for one in settings.own.files if not Path(one).exists()]


SPEC = DaemonSpec("vessel", "vessel", Own, never, check)


def test_every_absolute_path_and_nothing_else_is_below_the_root() -> None:
    own: dict[str, Any] = {
        "file": "/etc/a",
        "named": ["/b", "c", "https://d/e"],
        "by_name": {"/k": "/v"},
        "inner": {"credential": "file:/etc/token"},
    }
    endpoint = {"urls": ["https://x"], "issuer": "https://x", "ca_file": "/etc/ca"}
    before = build([("f", {"v": 1, "endpoint": endpoint, "vessel": own})], {}, "vessel", Own)
    after = rooted(before, "/r")
    assert after.own == Own(
        file="/r/etc/a",
        files=["/r/b", "c", "https://d/e"],
        by_name={"/k": "/r/v"},
        inner=Inner(credential="file:/r/etc/token"),
    )
    assert after.endpoint is not None and after.endpoint.ca_file == "/r/etc/ca" and after.endpoint.urls == ["https://x"]
    assert (after.node.state_dir, after.node.log_level) == ("/r/var/lib/galley", "info")
    assert rooted(build([], {}, "vessel", Own), "/r").endpoint is None


def test_a_check_below_a_root_reads_nothing_else_and_tells_paths_as_they_are_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, root = tmp_path / "here", tmp_path / "root"
    here.touch()
    (root / "etc/galley").mkdir(parents=True)
    (root / "etc/galley/ca.pem").touch()
    settings = root / "etc/galley/galley.yaml"
    settings.write_text(f"v: 1\nvessel: {{named: [/etc/galley/ca.pem, '{here}', /gone]}}\n")
    assert run_daemon(SPEC, ["--check-config", "--root", str(root)]) == 78
    found = set(capsys.readouterr().err.splitlines())
    assert found == {f"vessel: vessel.named: {gone}: is not there" for gone in ("/gone", here)}
    settings.write_text("v: 1\nvessel: {colour: red}\n")
    assert run_daemon(SPEC, ["--check-config", "--root", str(root)]) == 78
    assert capsys.readouterr().err == "vessel: /etc/galley/galley.yaml:2: vessel.colour: unknown key\n"
    settings.write_text("v: 1\nvessel: {named: [/etc/galley/ca.pem]}\n")
    assert run_daemon(SPEC, ["--check-config", "--root", f"{root}/"]) == 0


def test_a_daemon_does_not_run_below_a_root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_daemon(SPEC, ["--root", str(tmp_path)])
    assert ended.value.code == 2 and "--root is for --check-config alone" in capsys.readouterr().err
