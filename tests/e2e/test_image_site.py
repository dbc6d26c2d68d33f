"""A site of three with the NUC image, two boxes in systemd-nspawn and a machine in QEMU, becomes one cluster.

The machine is a worker: as a server it joins, and its API server answers too late then (docs/soak.md).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agents.contracts.trust import MemberRole
from images.nuc.build import Built
from tests.site_in_a_box.image_site import ImageSite, formed
from tests.soak.image_sites import form

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def site(kube_image: Built) -> Iterator[ImageSite]:
    with formed(kube_image, MemberRole.WORKER) as site:
        yield site


def test_two_boxes_and_a_machine_become_one_cluster_and_follow_their_atlas(site: ImageSite) -> None:
    two, three = form(site)
    print(f"two ready after {two:.0f} s, all three after {three:.0f} s")


def test_no_unit_failed_on_any_of_them(site: ImageSite) -> None:
    failed = ("systemctl", "--failed", "--no-legend", "--plain")
    assert [host.run(*failed).strip() for host in site.hosts] == ["", ""]
    assert site.machine.run(" ".join(failed)).strip() == ""
