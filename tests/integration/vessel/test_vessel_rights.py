"""A right that one account lacks: its app is reported and tried again, the other apps go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from agents.io.kube import Kube, NotServed

RULES = [
    {"apiGroups": [""], "resources": ["configmaps", "secrets", "namespaces"], "verbs": ["*"]},
    {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": ["*"]},
]


class Account:
    """A service account of the test's own, with rights that can be taken away."""

    def __init__(self, slate: Any) -> None:
        self.slate = slate
        self.name = f"limited-{slate.ns}"
        self.ref = f"galley-system/{self.name}"

    def make(self) -> None:
        kubectl = self.slate.site.kubectl
        if "galley-system" not in kubectl("get", "namespace", "galley-system", "-o", "name", "--ignore-not-found"):
            kubectl("create", "namespace", "galley-system")
        kubectl("create", "serviceaccount", self.name, "-n", "galley-system")
        role = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": self.name},
            "rules": RULES,
        }
        kubectl("apply", "-f", "-", stdin=yaml.safe_dump(role))
        self.allow()

    def allow(self) -> None:
        account = f"--serviceaccount=galley-system:{self.name}"
        self.slate.site.kubectl("create", "clusterrolebinding", self.name, f"--clusterrole={self.name}", account)

    def forbid(self) -> None:
        self.slate.site.kubectl("delete", "clusterrolebinding", self.name, "--ignore-not-found")

    def remove(self) -> None:
        self.forbid()
        self.slate.site.kubectl("delete", "clusterrole", self.name, "--ignore-not-found")
        self.slate.site.kubectl("delete", "serviceaccount", self.name, "-n", "galley-system", "--ignore-not-found")


@pytest.fixture
def limited(slate: Any) -> Iterator[Account]:
    account = Account(slate)
    try:
        account.make()
        yield account
    finally:
        account.remove()


def thing(slate: Any) -> tuple[str, str]:
    """A definition, and an object of its kind."""
    group = f"g{slate.ns[2:]}.example.com"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things", "singular": "thing"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
    one = {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"a": "x"}}
    return yaml.safe_dump(definition), yaml.safe_dump(one)


async def test_no_right_on_a_kind_of_the_commit_rolls_back_and_a_revert_passes(
    slate: Any, limited: Account, dump: Callable[..., str]
) -> None:
    def content(size: str) -> str:
        return dump(slate.namespace(), slate.config_map("settings", size=size))

    files = {"apps/web/app.yaml": slate.app(serviceAccount=limited.ref), "apps/web/x.yaml": content("1")}
    good = slate.repo.commit(files, "good")
    vessel = slate.vessel().start()
    await vessel.wait_report(app="*", phase="healthy", revision=good)
    bad = slate.repo.commit({"apps/web/y.yaml": dump(*thing(slate)), "apps/web/x.yaml": content("2")}, "bad")
    report = await vessel.wait_report(app="web", phase="partial", revision=bad)
    assert any("things" in problem and "forbidden" in problem for problem in report["problems"]), report
    whole = await vessel.wait_report(app="*", phase="partial", revision=bad)
    assert any("rolled back" in problem for problem in whole["problems"]), whole
    await vessel.wait(lambda: slate.get("configmap", "settings")["data"] == {"size": "1"}, "rolled back", seconds=15)
    slate.site.kubectl("patch", "configmap", "settings", "-n", slate.ns, "-p", '{"data":{"size":"9"}}')
    await vessel.wait(lambda: slate.get("configmap", "settings")["data"] == {"size": "1"}, "drift undone", seconds=10)
    slate.repo.commit({"apps/web/y.yaml": None, "apps/web/x.yaml": content("3")}, "reverted")
    await vessel.wait(lambda: slate.get("configmap", "settings")["data"] == {"size": "3"}, "reverted", seconds=15)


async def test_an_account_that_lost_its_rights_stops_no_other_app(slate: Any, limited: Account) -> None:
    def drift(name: str) -> None:
        slate.site.kubectl("patch", "configmap", name, "-n", slate.ns, "-p", '{"data":{"size":"9"}}')

    files = {
        "apps/a/app.yaml": slate.app(),
        "apps/a/x.yaml": slate.namespace() + "---\n" + slate.config_map("ca", size="1"),
        "apps/b/app.yaml": slate.app(serviceAccount=limited.ref, stage=1),
        "apps/b/x.yaml": slate.config_map("cb", size="1"),
    }
    good = slate.repo.commit(files, "good")
    vessel = slate.vessel().start()
    await vessel.wait_report(app="*", phase="healthy", revision=good)
    vessel.stop()
    limited.forbid()
    vessel.start()
    report = await vessel.wait_report(app="b", phase="partial", revision=good)
    assert any("forbidden" in problem for problem in report["problems"]), report
    drift("ca")
    await vessel.wait(lambda: slate.get("configmap", "ca")["data"] == {"size": "1"}, "a is kept", seconds=10)
    second = slate.repo.commit(
        {"apps/a/x.yaml": slate.namespace() + "---\n" + slate.config_map("ca", size="2")}, "a goes on"
    )
    await vessel.wait_report(app="*", phase="partial", revision=second)
    assert slate.get("configmap", "ca")["data"] == {"size": "2"}
    drift("cb")
    limited.allow()
    await vessel.wait(lambda: slate.get("configmap", "cb")["data"] == {"size": "1"}, "b is kept again", seconds=45)
    await vessel.wait_report(app="*", phase="healthy", revision=second)


async def found(kube: Kube, resource: Any, namespace: str, name: str) -> Any:
    try:
        return await kube.get(resource, namespace, name)
    except NotServed:
        return None


async def test_what_is_not_served_is_never_taken_for_gone(slate: Any) -> None:
    """Discovery may name a kind for a moment after it was switched off; its objects are stored all the while."""
    definition, one = thing(slate)
    name = f"things.g{slate.ns[2:]}.example.com"
    slate.site.kubectl("create", "namespace", slate.ns)
    slate.site.kubectl("apply", "-f", "-", stdin=definition)
    slate.site.kubectl("wait", "--for=condition=Established", f"crd/{name}")
    slate.site.kubectl("apply", "-n", slate.ns, "-f", "-", stdin=one)
    kube = await Kube.connect(kubeconfig=slate.site.kubeconfig, user_agent="test")
    try:
        resource = (await kube.discover(fresh=True)).find(f"g{slate.ns[2:]}.example.com/v1", "Thing")
        assert resource is not None and await kube.get(resource, slate.ns, "nobody") is None
        own = (await kube.list(resource, slate.ns)).items[0]["metadata"]["name"]
        assert await kube.get(resource, slate.ns, own) is not None
        off = '[{"op":"replace","path":"/spec/versions/0/served","value":false}]'
        slate.site.kubectl("patch", "crd", name, "--type=json", "-p", off)
        deadline = time.monotonic() + 20
        with pytest.raises(NotServed):
            while time.monotonic() < deadline:
                assert await kube.get(resource, slate.ns, own) is not None, "taken for gone"
                await asyncio.sleep(0.02)
        with pytest.raises(NotServed):
            await kube.delete(resource, slate.ns, own)
        slate.site.kubectl("patch", "crd", name, "--type=json", "-p", off.replace("false", "true"))
        while await found(kube, resource, slate.ns, own) is None:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
    finally:
        await kube.aclose()


async def test_a_kind_that_is_switched_off_for_a_while_leaves_no_orphan(slate: Any) -> None:
    definition, one = thing(slate)
    off = definition.replace("served: true", "served: false")
    assert off != definition
    files = {
        "apps/a/app.yaml": slate.app(),
        "apps/a/x.yaml": slate.namespace() + "---\n" + slate.config_map("ca", size="1"),
        "apps/a/crd.yaml": definition,
        "apps/a/cr.yaml": one,
    }
    good = slate.repo.commit(files, "good")
    vessel = slate.vessel().start()
    await vessel.wait_report(app="*", phase="healthy", revision=good)
    kind = f"things.g{slate.ns[2:]}.example.com"
    slate.repo.commit({"apps/a/crd.yaml": off}, "switched off")
    path = f"/apis/g{slate.ns[2:]}.example.com/v1/namespaces/{slate.ns}/things"
    await vessel.wait(lambda: slate.site.get_status(path) == 404, "off", seconds=20)
    gone = slate.repo.commit({"apps/a/cr.yaml": None}, "and the object leaves")
    report = await vessel.wait_report(app="a", phase="partial", revision=gone)
    assert any("is not served at present" in problem for problem in report["problems"]), report
    on = slate.repo.commit({"apps/a/crd.yaml": definition}, "on again")
    await vessel.wait_report(app="*", phase="healthy", revision=on)
    assert slate.site.kubectl("get", kind, "-n", slate.ns, "-o", "name").strip() == ""
