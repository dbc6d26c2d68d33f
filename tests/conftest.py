"""Fixtures and hooks for all tiers."""

from __future__ import annotations

import pytest

from tests.site_in_a_box import kube_fixtures
from tests.site_in_a_box.kube_fixtures import (  # noqa: F401
    etcd,
    kube_binaries,
    kube_folder,
    kube_namespace,
    kube_site,
    kubelet,
    make_kube_site,
)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Builds the programs that the chosen tests need, outside any test's time limit."""
    if not session.config.option.collectonly:
        kube_fixtures.build_for(session.items)
