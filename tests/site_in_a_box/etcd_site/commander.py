"""Edge Commander as it is, but for two things: the cluster's API is the one of api.py, and members look every 3 s, not
every minute, whether another is still of the site."""

from __future__ import annotations

import sys
from pathlib import Path

import edge_commander.__main__ as real
from edge_commander.distribution.apart import Apart
from edge_commander.distribution.choice import ACCESS_FILE
from edge_commander.distribution.existing import ExistingCluster
from edge_commander.formation import former
from edge_commander.settings import DistributionSettings
from tests.site_in_a_box.etcd_site.api import connect

LOOK_SECONDS = 3.0


def distribution(settings: DistributionSettings, run_dir: Path) -> Apart:
    """See edge_commander.distribution.choice.make_unprivileged."""
    observer = ExistingCluster(Path(settings.access_dir) / ACCESS_FILE, connect)
    return Apart(settings.kind, run_dir / "distribution.sock", observer)


if __name__ == "__main__":
    setattr(real, "make_distribution", distribution)  # noqa: B010 - a name that it imports, not one it offers
    former.LOOK_SECONDS = LOOK_SECONDS
    sys.exit(real.main())
