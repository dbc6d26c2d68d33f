"""What the hosts with a real systemd need, made outside of any test's time limit."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("tests.contract.commander.distribution_suite")

from images.containers import build  # noqa: E402
from images.nuc import build as nuc  # noqa: E402
from tests.contract.commander import distribution_suite  # noqa: E402 - its assertions are to explain themselves
from tests.site_in_a_box import cluster_guest, cluster_host, host_tree, image_site  # noqa: E402


@pytest.fixture(scope="session")
def cluster_parts() -> None:
    """Programs, images and file tree of hosts that form a cluster. Fails where the tests do not run as root."""
    if os.geteuid() != 0:
        pytest.fail("hosts that form a cluster need root: run this tier as root (sudo -E make test)")
    _make_cluster_parts()


@pytest.fixture(scope="session")
def suite_images() -> Path:
    """What `make images` makes."""
    return build.ensure()


@pytest.fixture(scope="session")
def image() -> nuc.Built:
    """What `make image` makes. Fails where the tests do not run as root."""
    if os.geteuid() != 0:
        pytest.fail("an image is built and booted as root: run this tier as root (sudo -E make test)")
    return nuc.ensure()


def _make_cluster_parts() -> None:
    cluster_host.programs()
    host_tree.ensure(cluster_guest.PACKAGES)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Lets a story of several tests know that one failed."""
    report = (yield).get_result()
    if report.when == "call" and report.failed:
        item.stash[distribution_suite.FAILED] = True


def pytest_collection_finish(session: pytest.Session) -> None:
    """Makes what hosts boot from before the first test, where one needs it."""
    used = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    if "cluster_parts" in used and os.geteuid() == 0 and not session.config.option.collectonly:
        _make_cluster_parts()
    if "suite_images" in used and os.geteuid() == 0 and not session.config.option.collectonly:
        build.ensure()
    if "image" in used and os.geteuid() == 0 and not session.config.option.collectonly:
        nuc.ensure()
    if "kube_image" in used and os.geteuid() == 0 and not session.config.option.collectonly:
        image_site.kube_image()


@pytest.fixture(scope="session")
def kube_image(cluster_parts: None) -> nuc.Built:
    """The image with upstream Kubernetes in it."""
    return image_site.kube_image()
