"""Which images a commit needs, by the objects that hold pods; and when the nodes have them."""

from __future__ import annotations

from typing import Any

import pytest

from agents.contracts.images import MAX_IMAGES, NodeImages, WantedImages, normal
from vessel.images import NEEDS_SECRET, Found, judge, of_object, wanted

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("team/app", "docker.io/team/app:latest"),
        ("index.docker.io/nginx:1", "docker.io/library/nginx:1"),
        ("localhost/app:1", "localhost/app:1"),
        ("registry:5000/app", "registry:5000/app:latest"),
        ("ghcr.io/a/b/c:v1", "ghcr.io/a/b/c:v1"),
        (f"nginx:1.27@{DIGEST}", f"docker.io/library/nginx@{DIGEST}"),
        (f"ghcr.io/a/b@{DIGEST}", f"ghcr.io/a/b@{DIGEST}"),
        ("[2001:db8::1]:5000/a:1", "[2001:db8::1]:5000/a:1"),
        *[(bad, "") for bad in ("", "Nginx", "a b", "a:", ":1", "a@sha256:12", "-a", "--all", "a//b", "a/../b", "a\n",
                                "http://r.example/a", f"{'a' * 300}:1", "a:" + "t" * 129, "a/b_:1")],
    ],
)  # fmt: skip
def test_references_become_whole_as_containerd_names_them(text: str, whole: str) -> None:
    assert normal(text) == whole
    assert normal(whole) == whole


def pod(*images: str, **more: Any) -> dict[str, Any]:
    return {"containers": [{"name": "c", "image": image} for image in images], **more}


@pytest.mark.parametrize(
    ("group", "kind", "body"),
    [
        ("", "Pod", {"spec": pod("a")}),
        ("", "PodTemplate", {"template": {"spec": pod("a")}}),
        ("", "ReplicationController", {"spec": {"template": {"spec": pod("a")}}}),
        *[("apps", kind, {"spec": {"template": {"spec": pod("a")}}})
          for kind in ("DaemonSet", "Deployment", "ReplicaSet", "StatefulSet")],
        ("batch", "Job", {"spec": {"template": {"spec": pod("a")}}}),
        ("batch", "CronJob", {"spec": {"jobTemplate": {"spec": {"template": {"spec": pod("a")}}}}}),
    ],
)  # fmt: skip
def test_every_kind_with_pods_is_read(group: str, kind: str, body: dict[str, Any]) -> None:
    assert of_object(group, kind, body) == [Found("a", False)]
    assert of_object("others.example", kind, body) == []


def test_all_parts_of_a_pod_count_but_what_is_never_pulled() -> None:
    spec = pod("a", initContainers=[{"image": "i"}, {"image": "local", "imagePullPolicy": "Never"}], volumes=[
        {"name": "v", "image": {"reference": "model:1"}}, {"name": "e", "emptyDir": {}},
        {"image": {"reference": "local:1", "pullPolicy": "Never"}}])  # fmt: skip
    assert [one.text for one in of_object("", "Pod", {"spec": spec})] == ["i", "a", "model:1"]


@pytest.mark.parametrize(
    "body",
    [{}, {"spec": None}, {"spec": []}, {"spec": {"containers": {}}}, {"spec": {"containers": [None, 5, {"image": 7}]}},
     {"spec": {"volumes": [{"image": "x"}]}}],
)  # fmt: skip
def test_what_is_malformed_has_no_images(body: dict[str, Any]) -> None:
    assert of_object("", "Pod", body) == []


def test_each_image_once_and_what_is_left_out_with_its_reason() -> None:
    found = [Found("b", False), Found("a", True), Found("b:latest", False), Found("both", True), Found("both", False),
             Found("Not An Image", False)]  # fmt: skip
    made = wanted("r1", found)
    assert made.images == ["docker.io/library/b:latest", "docker.io/library/both:latest"]
    assert made.left_out["docker.io/library/a:latest"] == NEEDS_SECRET and "Not An Image" in made.left_out
    many = wanted("r1", [Found(f"i{n}", False) for n in range(MAX_IMAGES + 5)])
    assert len(many.images) == MAX_IMAGES and len(many.left_out) == 5


ASKED = WantedImages(revision="r1", images=["docker.io/library/a:1"])
OLD, PULLS, HAS = NodeImages(revision="r0"), NodeImages(revision="r1", missing=1), NodeImages(revision="r1")
FAILED = NodeImages(revision="r1", failed={"docker.io/library/a:1": "the disk is short"})


@pytest.mark.parametrize(
    ("nodes", "spent", "done", "says"),
    [
        ({}, 0.0, True, "no node pulls images ahead"),
        ({"n1": HAS, "n2": HAS}, 0.0, True, ""),
        ({"n1": HAS, "n2": PULLS}, 599.0, False, "n2 for 1 of 1"),
        ({"n1": HAS, "n2": OLD}, 59.0, False, "n2 to look"),
        ({"n1": HAS, "n2": OLD}, 61.0, True, "n2: has not looked"),
        ({"n1": HAS, "n2": None}, 61.0, True, "n2: has not looked"),
        ({"n1": HAS, "n2": FAILED}, 0.0, True, "n2: docker.io/library/a:1: the disk is short"),
    ],
)
def test_the_nodes_are_waited_for_as_long_as_they_work(
    nodes: dict[str, NodeImages | None], spent: float, done: bool, says: str
) -> None:
    verdict = judge(ASKED, nodes, spent, 60.0)
    assert verdict.done is done and says in (" ".join(verdict.notes) if done else verdict.text)
    assert done or not says or verdict.text


def test_a_commit_without_images_waits_for_nobody() -> None:
    assert judge(WantedImages(revision="r1"), {"n1": OLD}, 0.0, 60.0).done
    left = WantedImages(revision="r1", left_out={"x": NEEDS_SECRET})
    assert judge(left, {"n1": OLD}, 0.0, 60.0).notes == (f"x: {NEEDS_SECRET}: not pulled ahead",)
