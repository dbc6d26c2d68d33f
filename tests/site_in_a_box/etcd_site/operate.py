"""`edge_commander.distribution.run`, as a person has it on a node, with the API of api.py."""

from __future__ import annotations

import sys

from edge_commander.distribution import choice, run
from tests.site_in_a_box.etcd_site.api import connect

if __name__ == "__main__":
    choice.connect = connect
    sys.exit(run.main())
