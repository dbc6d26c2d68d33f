"""What the endpoint takes as a site: judged when it is given, so that what is stored already can still be read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.site_in_a_box.endpoint import Endpoint, EndpointClient

URL = "https://git.example/atlas.git"
BAD = {"url": "notaurl", "branch": "..", "path": "/", "credential": "bogus"}


@pytest.mark.parametrize(
    ("atlas", "field"),
    [
        ({"url": "notaurl"}, "url"),
        ({"url": "file:///srv/atlas.git"}, "url"),
        ({"url": URL, "credential": "bogus"}, "credential"),
        ({"url": URL, "credential": "file:/etc/shadow"}, "credential"),
        ({"url": URL, "branch": "a b"}, "branch"),
        ({"url": URL, "path": "../x"}, "path"),
    ],
)
async def test_an_atlas_that_no_node_would_follow_is_refused(
    operator: EndpointClient, site: str, atlas: dict[str, Any], field: str
) -> None:
    status, said = await operator.call("PUT", f"/v1/admin/sites/{site}", {"labels": {}, "atlas": atlas}, ok=False)
    assert status == 400 and f"`$.atlas.{field}`" in said["detail"]
    assert (await operator.call("GET", f"/v1/fleet/sites/{site}"))["site"]["atlas"] is None


async def test_a_bad_one_that_is_stored_already_is_read_and_mended(
    endpoint: Endpoint, operator: EndpointClient, device: EndpointClient, site: str
) -> None:
    endpoint.store_atlas(site, BAD)
    assert (await operator.call("GET", f"/v1/fleet/sites/{site}"))["site"]["atlas"] == BAD
    assert BAD in [one["atlas"] for one in await operator.call("GET", "/v1/fleet/sites")]
    assert (await device.call("GET", "/v1/site", scope="command:read"))["atlas"] == BAD
    made = await operator.put_site(site, atlas={"url": URL})
    assert made["atlas"]["url"] == URL


async def test_what_is_no_sites_id_says_what_one_is_made_of(operator: EndpointClient) -> None:
    status, said = await operator.call("PUT", "/v1/admin/sites/Store%201", {"labels": {}}, ok=False)
    assert status == 404 and "lower-case letters, digits and hyphens" in said["detail"]
