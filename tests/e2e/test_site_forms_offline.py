"""Three boxes whose roster names no addresses meet by mDNS; then the line to the cloud breaks, and they decide by
themselves who begins, and form."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.site_in_a_box.forming_site import FormingSite, formed

pytestmark = pytest.mark.timeout(600)
CARD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: card, namespace: default}\ndata: {greeting: hello}\n"


@pytest.fixture(scope="module")
def site(cluster_parts: None) -> Iterator[FormingSite]:
    with formed("galley-fo-", election="offline", addresses=False) as site:
        site.up({"apps/card/app.yaml": "v: 1\nowner: a\nnamespace: default\n", "apps/card/card.yaml": CARD})
        yield site


def voters_known(site: FormingSite) -> bool:
    """Whether every box holds the roster in which the voters are fixed."""
    return all('"voters":[{' in h.run("cat", "/var/lib/galley-ident/election.json", check=False) for h in site.hosts)


def test_they_decide_and_form_without_the_cloud(site: FormingSite) -> None:
    site.wait(lambda: voters_known(site), 60, "the voters are fixed, and known to all")
    site.cut_line()
    site.wait(
        lambda: all(site.status(h).get("state") == "ready" and not site.status(h)["reason"] for h in site.hosts),
        300, "ready, by their own word",
    )  # fmt: skip
    assert len(site.clusters()) == 1
    told = [h.run("cat", "/var/lib/galley-ident/election.json") for h in site.hosts]
    decided = {text.partition('"decided":"')[2].partition('"')[0] for text in told}
    assert len(decided) == 1 and decided <= {site.node_id(h) for h in site.hosts}
    site.mend_line()
    site.wait(site.ready, 90, "the cloud hears of it")
    known = site.cloud(f"/v1/fleet/sites/{site.site}")
    assert known["grants"] == [] and len(known["voters"]) == 3
