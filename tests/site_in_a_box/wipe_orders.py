"""An operator's wipe of a host, by the commands that operators have, and what came of it."""

from __future__ import annotations

from pathlib import Path

from tests.site_in_a_box.cluster_host import ClusterHost
from tests.site_in_a_box.forming_site import FormingSite


def order(site: FormingSite, host: ClusterHost, file: Path) -> int:
    """A wipe of `var` and `conf`, signed and sent; its sequence. Sent again, it is not sent twice."""
    node, desk = site.node_id(host), site.desk
    assert desk is not None

    def ready() -> bool:
        return bool(site.cloud(f"/v1/nodes/{node}/next-command")["challenge"])

    site.wait(ready, 90, "the node published a challenge")
    targets = ("--target", "var", "--target", "conf")
    desk.galley("command", "sign", "wipe", node, *targets, "--key", desk.key, "--yes", "-o", file)
    desk.galley("command", "send", file)
    desk.galley("command", "send", file)
    found = [one for one in site.cloud(f"/v1/nodes/{node}/commands") if one["verb"] == "wipe"]
    return int(found[0]["sequence"])


def answer(site: FormingSite, host: ClusterHost) -> tuple[str, str]:
    """What came of its newest wipe; empty while nothing did."""
    found = [one for one in site.cloud(f"/v1/nodes/{site.node_id(host)}/commands") if one["verb"] == "wipe"]
    return found[0]["outcome"] or "", found[0]["detail"] or ""
