"""Which images a commit needs, and whether its nodes have them. Pure.

Read from the objects that hold pod templates, by the kinds of Kubernetes itself; what an operator makes of a kind of
its own cannot be known. An image whose pods name a pull secret is left out: that secret stays where it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agents.contracts.images import MAX_IMAGES, NodeImages, WantedImages, normal

_TEMPLATE = ("spec", "template", "spec")
_PODS: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "Pod"): ("spec",),
    ("", "PodTemplate"): ("template", "spec"),
    ("", "ReplicationController"): _TEMPLATE,
    ("apps", "DaemonSet"): _TEMPLATE,
    ("apps", "Deployment"): _TEMPLATE,
    ("apps", "ReplicaSet"): _TEMPLATE,
    ("apps", "StatefulSet"): _TEMPLATE,
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template", "spec"),
    ("batch", "Job"): _TEMPLATE,
}
"""Where a kind keeps its pods' spec."""
NEEDS_SECRET = "needs a pull secret"  # noqa: S105
NO_REFERENCE = "is no image reference that can be pulled"
TOO_MANY = f"is past the {MAX_IMAGES} images that are pulled ahead"


@dataclass(frozen=True)
class Found:
    """One image as a pod names it."""

    text: str
    secret: bool


def of_object(group: str, kind: str, body: Mapping[str, Any]) -> list[Found]:
    """The images that an object's pods need; none of what is malformed, which the API server refuses."""
    spec: Any = body
    for name in _PODS.get((group, kind), ("",)):
        spec = spec.get(name) if isinstance(spec, Mapping) else None
    if not isinstance(spec, Mapping):
        return []
    secret = bool(spec.get("imagePullSecrets"))
    found = []
    for part in ("initContainers", "containers"):
        for one in _mappings(spec.get(part)):
            if isinstance(image := one.get("image"), str) and one.get("imagePullPolicy") != "Never":
                found.append(Found(image, secret))
    for volume in _mappings(spec.get("volumes")):
        source = volume.get("image")  # KEP-4639: an image as a volume
        text = source.get("reference") if isinstance(source, Mapping) and source.get("pullPolicy") != "Never" else None
        if isinstance(text, str):
            found.append(Found(text, secret))
    return found


def wanted(revision: str, found: Iterable[Found]) -> WantedImages:
    """What is asked of the nodes for a commit: each image once, in the order of the objects. An image that pods with
    and without a pull secret name can be had without one."""
    images: dict[str, bool] = {}
    left_out: dict[str, str] = {}
    for one in found:
        if name := normal(one.text):
            images[name] = images.get(name, True) and one.secret
        elif one.text:
            left_out[one.text[:200]] = NO_REFERENCE
    left_out |= {name: NEEDS_SECRET for name, secret in images.items() if secret}
    open_ones = [name for name, secret in images.items() if not secret]
    left_out |= dict.fromkeys(open_ones[MAX_IMAGES:], TOO_MANY)
    cut = dict(list(left_out.items())[:MAX_IMAGES])
    return WantedImages(revision=revision[:256], images=open_ones[:MAX_IMAGES], left_out=cut)


@dataclass(frozen=True)
class Verdict:
    """`done`: nothing is left to wait for. `text`: what is waited for, for people. `notes`: what is not there."""

    done: bool
    text: str = ""
    notes: tuple[str, ...] = ()


def judge(asked: WantedImages, nodes: Mapping[str, NodeImages | None], spent: float, answer: float) -> Verdict:
    """Whether to go on, `spent` s after the images were asked for. A node that says nothing of this commit within
    `answer` s is not waited for; None: its line cannot be read. No nodes: nobody pulls ahead here."""
    notes = [f"{image}: {why}: not pulled ahead" for image, why in asked.left_out.items()]
    if not asked.images:
        return Verdict(True, notes=tuple(notes))
    if not nodes:
        return Verdict(True, notes=(*notes, "no node pulls images ahead"))
    waiting = []
    for name, one in sorted(nodes.items()):
        if one is None or one.revision != asked.revision:
            if spent < answer:
                waiting.append(f"{name} to look")
            else:
                notes.append(f"{name}: has not looked for the images of this commit")
            continue
        if one.missing:
            waiting.append(f"{name} for {one.missing} of {len(asked.images)}")
        notes += [f"{name}: {image}: {why}" for image, why in one.failed.items()]
    return Verdict(not waiting, ", ".join(waiting), tuple(notes))


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
