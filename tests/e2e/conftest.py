"""What the hosts with a real systemd need, made outside of any test's time limit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.site_in_a_box import host_tree


@pytest.fixture(scope="session")
def host_base() -> Path:
    """The file tree that hosts boot from. Fails, and says why, where the tests do not run as root."""
    if os.geteuid() != 0:
        pytest.fail("a host with a real systemd needs root: run this tier as root (sudo -E make test)")
    return host_tree.ensure()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Makes the tree before the first test, where one needs it."""
    used = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    if "host_base" in used and os.geteuid() == 0 and not session.config.option.collectonly:
        host_tree.ensure()
