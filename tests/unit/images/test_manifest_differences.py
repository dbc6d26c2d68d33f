"""What a build says of packages that are not those of the manifest."""

from __future__ import annotations

import json

from images.nuc import sbom
from images.nuc.kernel import wanted
from images.nuc.manifest import Package, differences


def _package(version: str = "1", sha256: str = "aa") -> Package:
    return {"version": version, "sha256": sha256, "architecture": "amd64"}


def test_the_same_packages_differ_in_nothing() -> None:
    assert differences({"root": {"bash": _package()}}, {"root": {"bash": _package()}}) == []


def test_each_difference_is_named() -> None:
    was = {"root": {"bash": _package(), "git": _package(), "udev": _package()}, "toolbox": {"mtools": _package()}}
    now = {"root": {"bash": _package("2"), "git": _package(sha256="bb"), "zstd": _package()}}
    assert differences(was, now) == [
        "root: bash: 1 is now 2",
        "root: git: 1 has other bytes than before",
        "root: udev: is gone",
        "root: zstd: is new",
        "toolbox: mtools: is gone",
    ]


def test_modules_bring_what_they_need() -> None:
    table = {
        "kernel/drivers/net/ethernet/intel/igc/igc.ko.xz": ["kernel/drivers/ptp/ptp.ko.xz"],
        "kernel/drivers/ptp/ptp.ko.xz": ["kernel/drivers/pps/pps_core.ko.xz"],
        "kernel/drivers/pps/pps_core.ko.xz": [],
        "kernel/sound/snd.ko.xz": [],
    }
    assert wanted(table, ["drivers/net/ethernet/intel/*"]) == set(table) - {"kernel/sound/snd.ko.xz"}


def test_the_sbom_names_every_package_once_and_follows_from_its_content() -> None:
    debian = {"bash": _package("1:5.2+b1"), "base-files": _package("13")}

    def make(digest: str) -> str:
        return sbom.document("galley-nuc", "0.1.0", 1735689600, debian, {"PyYAML": "6.0"}, digest=digest)

    assert make("aa") == make("aa") != make("bb")
    document = json.loads(make("aa"))
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert document["metadata"]["timestamp"] == "2025-01-01T00:00:00Z"
    assert [part["purl"] for part in document["components"]] == [
        "pkg:deb/debian/base-files@13?arch=amd64&distro=debian-13",
        "pkg:deb/debian/bash@1%3A5.2%2Bb1?arch=amd64&distro=debian-13",
        "pkg:pypi/pyyaml@6.0",
    ]
