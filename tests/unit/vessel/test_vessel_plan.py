"""What must be sent; objects as they are sent; order; targets; fights."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from vessel.fights import Fights
from vessel.health import DONE, Health, State
from vessel.inventory import Entry, Inventory
from vessel.model import App, AppSpec, Atlas, Commit, Manifest, Ref
from vessel.objects import APP_LABEL, NewKind, in_namespace, resolve
from vessel.order import Wave, wave
from vessel.plan import Action, Observed, decide, leaving, moved
from vessel.target import Facts, choose, next_look, roll_back_to

CRDS = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
SCOPES = {("v1", "ConfigMap"): True, ("v1", "Secret"): True, ("v1", "Namespace"): False, CRDS: False}
KINDS = {key: NewKind(*key, namespaced, {}) for key, namespaced in SCOPES.items()}


def find(api_version: str, kind: str) -> NewKind | None:
    return KINDS.get((api_version, kind))


def manifest(kind: str, name: str, namespace: str = "", api_version: str = "v1", **body: Any) -> Manifest:
    meta = {"name": name} | ({"namespace": namespace} if namespace else {}) | body.pop("metadata", {})
    full = {"apiVersion": api_version, "kind": kind, "metadata": meta, **body}
    return Manifest(Ref(api_version, kind, namespace, name), full, f"apps/x/{name}.yaml", 3)


def atlas(**apps: tuple[Manifest, ...]) -> Atlas:
    made = tuple(App(AppSpec(name=n, namespace="kitchen", file=f"apps/{n}/app.yaml"), m) for n, m in apps.items())
    return Atlas(Commit("r" * 40), made)


def one(found: Manifest) -> Any:
    resolved = resolve(atlas(web=(found,)), find)
    assert not resolved.problems, resolved.problems
    return resolved.all[0]


@pytest.mark.parametrize(
    "slip",
    [
        {"stringData": "p: precious\n"},
        {"stringData": ["p"]},
        {"stringData": {"p": 5}},
        {"stringData": {"p": {"q": "x"}}},
        {"stringData": {"p": "x"}, "data": ["x"]},
    ],
)
def test_a_slip_in_a_secret_is_left_for_the_server_to_refuse(slip: dict[str, Any]) -> None:
    body = one(manifest("Secret", "s", **slip)).body
    assert {key: body[key] for key in slip} == slip and body.keys() - slip.keys() == {"apiVersion", "kind", "metadata"}


def test_null_in_string_data_is_an_empty_text() -> None:
    body = one(manifest("Secret", "s", stringData={"p": None, "q": "x"}, data=None)).body
    assert body["data"] == {"p": "", "q": base64.b64encode(b"x").decode()} and "stringData" not in body


def test_namespace_by_scope() -> None:
    assert one(manifest("ConfigMap", "m")).ref.namespace == "kitchen"
    assert one(manifest("ConfigMap", "m", "other")).body["metadata"]["namespace"] == "other"
    item = one(manifest("Namespace", "m", "nonsense"))
    assert item.ref.namespace == "" and "namespace" not in item.body["metadata"]


def test_what_is_sent() -> None:
    servers = {"uid": "u", "resourceVersion": "1", "managedFields": [], "creationTimestamp": None}
    item = one(manifest("ConfigMap", "m", metadata={"labels": {"a": "b"}, **servers}, status={"x": 1}, data={"k": "v"}))
    assert item.body == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "m", "namespace": "kitchen", "labels": {"a": "b", APP_LABEL: "web"}},
        "data": {"k": "v"},
    }


def test_the_manifest_is_not_changed_and_secrets_are_not_shown() -> None:
    source = manifest("Secret", "s", stringData={"password": "hunter2"}, data={"x": "eA=="})
    item = one(source)
    assert item.body["data"] == {"x": "eA==", "password": base64.b64encode(b"hunter2").decode()}
    assert "stringData" not in item.body
    assert source.body["stringData"] == {"password": "hunter2"} and "labels" not in source.body["metadata"]
    assert "hunter2" not in repr(item) + repr(source) and "aHVudGVyMg" not in repr(item)


def test_digest_follows_content_alone() -> None:
    same = one(manifest("ConfigMap", "m", data={"a": "1", "b": "2"}))
    assert one(manifest("ConfigMap", "m", data={"b": "2", "a": "1"})).digest == same.digest
    assert one(manifest("ConfigMap", "m", data={"a": "1", "b": "3"})).digest != same.digest


def test_unknown_kind_and_duplicate_are_problems_with_places() -> None:
    resolved = resolve(
        atlas(
            a=(manifest("ConfigMap", "m"), manifest("Nothing", "x", api_version="no/v1")),
            b=(manifest("ConfigMap", "m", "kitchen"),),
        ),
        find,
    )
    assert resolved.unknown == {("no/v1", "Nothing")}
    unknown, twice = resolved.problems
    assert (unknown.file, unknown.line, unknown.path) == ("apps/x/x.yaml", 3, "kind")
    assert "already at apps/x/m.yaml:3 (app a)" in twice.cause


def test_a_kind_that_the_commit_defines() -> None:
    spec = {"group": "shop.io", "scope": "Cluster", "names": {"kind": "Order"},
            "versions": [{"name": "v1", "served": True}, {"name": "v0", "served": False}]}  # fmt: skip
    crd = manifest("CustomResourceDefinition", "orders.shop.io", api_version="apiextensions.k8s.io/v1", spec=spec)
    order = manifest("Order", "o", api_version="shop.io/v1")
    resolved = resolve(atlas(web=(order, crd)), find)
    assert not resolved.problems
    assert resolved.all[0].new_kind is not None and resolved.all[0].ref.namespace == ""
    old = resolve(atlas(web=(manifest("Order", "o", api_version="shop.io/v0"), crd)), find)
    assert len(old.problems) == 1


@pytest.mark.parametrize("spec", [None, 5, {}, {"names": 3}, {"names": {}, "versions": None}])
def test_a_malformed_definition_is_a_problem(spec: Any) -> None:
    crd = manifest("CustomResourceDefinition", "c", api_version="apiextensions.k8s.io/v1", spec=spec)
    resolved = resolve(atlas(web=(crd,)), find)
    assert resolved.problems and not resolved.all
    assert all(problem.path.startswith("spec") and problem.line == 3 for problem in resolved.problems)


def test_bad_app_fields() -> None:
    bad = Atlas(Commit("r"), (App(AppSpec(name="Up_per", service_account="x", file="f"), ()),))
    assert len(resolve(bad, find).problems) == 2


def test_in_namespace_leaves_the_original() -> None:
    item = one(manifest("ConfigMap", "m"))
    assert in_namespace(item.body, "galley-dryrun")["metadata"]["namespace"] == "galley-dryrun"
    assert item.body["metadata"]["namespace"] == "kitchen"


SEEN = Observed(uid="u", resource_version="1", fields="f", health=DONE)


def entry(**more: Any) -> Entry:
    item = one(manifest("ConfigMap", "m"))
    base = {"digest": item.digest, "fields": "f", "uid": "u"} | more
    return Entry(api_version="v1", kind="ConfigMap", namespace="kitchen", name="m", **base)


@pytest.mark.parametrize(
    ("have", "seen", "action"),
    [
        (entry(), SEEN, Action.KEEP),
        (entry(), None, Action.CREATE),
        (None, None, Action.CREATE),
        (None, SEEN, Action.CHANGE),
        (entry(digest=""), SEEN, Action.CHANGE),
        (entry(digest="other"), SEEN, Action.CHANGE),
        (entry(fields="g"), SEEN, Action.REPAIR),
        (entry(uid="v"), SEEN, Action.REPAIR),
        (entry(fields=""), Observed("u", "1", "", DONE), Action.REPAIR),
        (entry(), Observed("u", "1", "f", DONE, deleting=True), Action.CREATE),
        (entry(), Observed("u", "9", "f", Health(State.FAILED, "x")), Action.KEEP),
        (entry(finished=True), None, Action.KEEP),
        (entry(finished=True, digest="other"), None, Action.CREATE),
        (entry(finished=True, fields="g"), SEEN, Action.REPAIR),
    ],
)
def test_decide(have: Entry | None, seen: Observed | None, action: Action) -> None:
    assert decide(one(manifest("ConfigMap", "m")), have, seen) is action


def test_leaving_and_moved() -> None:
    have = entry()
    inventories = {"old": Inventory(app="old", entries={have.ref.key: have}), "web": Inventory(app="web")}
    item = one(manifest("ConfigMap", "m"))
    assert leaving(inventories, []) == {"old": (have.ref,)}
    assert leaving(inventories, [item.key]) == {}, "it belongs to another app now, and stays"
    assert moved(inventories, [item]) == {"old": (item.key,)}
    assert moved(inventories, []) == {}


@pytest.mark.parametrize(
    ("api_version", "kind", "expected"),
    [("v1", "Namespace", Wave.NAMESPACES), ("apiextensions.k8s.io/v1", "CustomResourceDefinition", Wave.DEFINITIONS),
     ("v1", "ConfigMap", Wave.CONFIGURATION), ("rbac.authorization.k8s.io/v1", "Role", Wave.CONFIGURATION),
     ("apps/v1", "Deployment", Wave.WORKLOADS), ("shop.io/v1", "Namespace", Wave.WORKLOADS),
     ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", Wave.ADMISSION)],
)  # fmt: skip
def test_waves(api_version: str, kind: str, expected: Wave) -> None:
    assert wave(Ref(api_version, kind, "", "x")) is expected


def facts(**given: Any) -> Facts:
    base = {"head": "new", "applied": "old", "healthy": "old", "quarantined": "", "held": "old", "refused": {}}
    return Facts(**(base | given))


INF = float("inf")


@pytest.mark.parametrize(
    ("given", "target"),
    [
        ({}, "new"),
        ({"held": "new"}, ""),
        ({"head": "", "held": ""}, "old"),
        ({"head": "", "applied": "", "held": ""}, ""),
        ({"quarantined": "new"}, ""),
        ({"quarantined": "new", "held": "new"}, "old"),
        ({"quarantined": "bad"}, "new"),
        ({"quarantined": "new", "healthy": "", "held": ""}, "new"),
        ({"refused": {"new": INF}}, ""),
        ({"refused": {"new": INF}, "held": ""}, "old"),
        ({"refused": {"new": 100.0}}, ""),
        ({"refused": {"new": 5.0}}, "new"),
        ({"refused": {"new": INF, "old": INF}, "held": ""}, ""),
        ({"held": "new", "retry_at": 5.0}, "new"),
        ({"held": "new", "retry_at": 50.0}, ""),
    ],
)
def test_choose(given: dict[str, Any], target: str) -> None:
    assert choose(facts(**given), 10.0) == target


def test_next_look() -> None:
    assert next_look(facts(refused={"a": INF, "b": 40.0, "c": 3.0}, retry_at=30.0), 10.0) == 20.0
    assert next_look(facts(), 10.0) == INF


def test_roll_back_to() -> None:
    assert roll_back_to("bad", "good") == "good"
    assert roll_back_to("good", "good") == "" == roll_back_to("bad", "")


def test_a_fight_is_held_back_and_forgotten() -> None:
    fights, key, now = Fights(), ("", "ConfigMap", "n", "m"), 0.0
    told = []
    for _ in range(12):
        now += fights.wait(key, now) + 0.1
        told.append(fights.repaired(key, now))
    assert told.count(True) == 1 and told.index(True) == 4
    assert 60 < fights.wait(key, now) <= 300
    now += 300 + 61
    assert fights.wait(key, now) == 0
    assert fights.repaired(key, now) is False and fights.wait(key, now) == 0
    fights.prune(now + 10_000)
    assert fights.wait(key, now) == 0
