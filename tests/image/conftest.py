"""The image that `make image` makes, built before any test's time runs."""

from __future__ import annotations

import os

import pytest

from images.nuc import build as nuc


@pytest.fixture(scope="session")
def image() -> nuc.Built:
    """Fails where the tests do not run as root."""
    if os.geteuid() != 0:
        pytest.fail("an image is built and booted as root: sudo -E make test-image")
    return nuc.ensure()


def pytest_collection_finish(session: pytest.Session) -> None:
    if os.geteuid() == 0 and not session.config.option.collectonly:
        nuc.ensure()
