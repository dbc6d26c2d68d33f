"""A wrong number of an epoch is said before anything of signatures: no signature would help it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from agents.core.operators import sign_operators
from tests.fakes.trust_kit import ALICE, operators_document
from tests.site_in_a_box.endpoint import Endpoint


async def test_where_operators_sign_the_number_is_looked_at_first(tmp_path: Path) -> None:
    endpoint = Endpoint(tmp_path / "endpoint", limits={"source_rate": 1000, "source_burst": 5000})
    await asyncio.to_thread(endpoint.start)
    try:
        async with endpoint.operator() as operator:
            await operator.put_site("store-1")
            document = msgspec.to_builtins(sign_operators(operators_document(), [ALICE]))
            await operator.call("POST", "/v1/admin/operators-documents", document)
            path = "/v1/admin/sites/store-1/epoch"
            for wrong in (5, 3):
                status, said = await operator.call("PUT", path, {"to": wrong}, ok=False)
                assert (status, said["detail"]) == (409, "the site's epoch is 1 (cloud): the next is 2")
            _, said = await operator.call("PUT", path, {"to": 2}, ok=False)
            assert "authorisation" in said["detail"]
            _, said = await operator.call("PUT", "/v1/admin/sites/store-9/epoch", {"to": 2}, ok=False)
            assert "there is no site" in said["detail"]
    finally:
        endpoint.stop()
