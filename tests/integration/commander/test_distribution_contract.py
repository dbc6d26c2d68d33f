"""What every Distribution must do, against a real cluster. One suite, parametrised over the implementations."""

import inspect
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agents.core.errors import Rejected, Retryable
from edge_commander.distribution.port import ClusterPlan, Distribution, Operation, Unsupported
from tests.integration.commander.distributions import IMPLEMENTATIONS, Implementation
from tests.site_in_a_box.kube_fixtures import NODES
from tests.site_in_a_box.kube_site import KubeSite

PLAN = ClusterPlan(site="store-00001", epoch=1, node=NODES[0], servers=("192.0.2.1",))
ARGUMENTS: dict[Operation, tuple[Any, ...]] = {
    Operation.INIT: (PLAN,),
    Operation.JOIN: (PLAN,),
    Operation.REMOVE: ("no-such-node",),
    Operation.SNAPSHOT: ("before",),
    Operation.RESTORE: ("/nowhere", PLAN),
    Operation.UPGRADE: ("v1.36.3",),
}


@pytest.fixture(params=IMPLEMENTATIONS, ids=lambda one: one.name)
def implementation(request: pytest.FixtureRequest) -> Implementation:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
async def distribution(implementation: Implementation, kube_site: KubeSite) -> AsyncIterator[Distribution]:
    made = implementation.make(kube_site.kubeconfig)
    yield made
    await made.aclose()


def test_it_has_every_operation_with_the_ports_signature(implementation: Implementation) -> None:
    made = implementation.make(Path("/nowhere"))
    assert made.name == implementation.name
    for operation in Operation:
        expected = inspect.signature(getattr(Distribution, operation.value)).parameters
        found = inspect.signature(getattr(type(made), operation.value)).parameters
        assert list(found) == list(expected)


async def test_health_and_members_are_the_clusters_own_word(distribution: Distribution) -> None:
    health = await distribution.health()
    assert (health.api, health.problem) == (True, "")
    members = await distribution.members()
    assert [one.name for one in members] == sorted(NODES)
    assert all(one.ready and one.version for one in members)


async def test_what_it_cannot_do_it_refuses_by_type(implementation: Implementation, distribution: Distribution) -> None:
    for operation in implementation.unsupported:
        with pytest.raises(Unsupported) as refused:
            await getattr(distribution, operation.value)(*ARGUMENTS.get(operation, ()))
        assert refused.value.operation is operation and refused.value.distribution == implementation.name


async def test_an_unreachable_api_is_an_answer_and_no_members(
    implementation: Implementation, kube_site: KubeSite, tmp_path: Path
) -> None:
    text = kube_site.kubeconfig.read_text()
    gone = tmp_path / "kubeconfig"
    gone.write_text(text.replace(kube_site.url, "https://127.0.0.1:1"))
    made = implementation.make(gone)
    try:
        health = await made.health()
        assert not health.api and health.problem
        with pytest.raises(Retryable):
            await made.members()
    finally:
        await made.aclose()


async def test_a_bad_kubeconfig_is_rejected_and_a_repaired_one_is_taken(
    implementation: Implementation, kube_site: KubeSite, tmp_path: Path
) -> None:
    file = tmp_path / "kubeconfig"
    made = implementation.make(file)
    try:
        with pytest.raises(Rejected, match="kubeconfig"):
            await made.health()
        file.write_text("not: a kubeconfig")
        with pytest.raises(Rejected):
            await made.health()
        file.write_text(kube_site.kubeconfig.read_text())
        assert (await made.health()).api
    finally:
        await made.aclose()


async def test_a_node_that_is_not_ready_is_said(
    implementation: Implementation, make_kube_site: Callable[..., KubeSite]
) -> None:
    site = make_kube_site("store-00009", controllers=False)
    site.kubectl("apply", "--server-side", "-f", "-", stdin=NODE)
    made = implementation.make(site.kubeconfig)
    try:
        members = await made.members()
        assert [(one.name, one.ready) for one in members] == [("nuc-x", False)]
    finally:
        await made.aclose()


NODE = "apiVersion: v1\nkind: Node\nmetadata:\n  name: nuc-x\n"
