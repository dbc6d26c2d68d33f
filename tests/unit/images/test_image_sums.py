"""The file of sums beside the image: what it covers, in the form that sha256sum reads."""

from __future__ import annotations

import subprocess
from pathlib import Path

from images.nuc import build


def test_every_file_is_summed_that_two_builds_have_alike(tmp_path: Path) -> None:
    for name in ("galley-nuc.raw", "sbom.json", "packages.txt", "sizes.json"):
        (tmp_path / name).write_text(name)
    (tmp_path / "tree").mkdir()
    known = "4e388ab32b10dc8dbc7e28144f552830adc74787c1e2c0824032078a79f227fb"  # not its own: it is not read again
    build.write_sums(tmp_path, {"galley-nuc.raw": known})
    lines = (tmp_path / "sha256").read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == ["galley-nuc.raw", "packages.txt", "sbom.json"]
    assert lines[0].startswith(known)
    build.write_sums(tmp_path, {})
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "sha256"], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 0, done
