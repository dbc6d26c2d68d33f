"""Changes in a static pod's manifest as kubeadm wrote it, and what it says. Pure."""

from __future__ import annotations

from typing import Any

import yaml

from agents.core.errors import Rejected

ANNOTATION = "galley/revision"
"""Set to a new value, the kubelet starts the static pod anew; its mirror in the API shows which one runs."""
EXISTING = "--initial-cluster-state=existing"
"""With this, an etcd whose data is gone does not start a second cluster: it asks its peers, and has none to ask."""


def changed(text: str, *, argument: str = "", annotation: str = "", file: str = "") -> str:
    """The manifest with an argument of its first container (once) and Galley's annotation. Rejected when it is none."""
    pod = _pod(text, file)
    if argument:
        command = pod["spec"]["containers"][0]["command"]
        option = argument.partition("=")[0]
        command[:] = [one for one in command if one.partition("=")[0] != option] + [argument]
    if annotation:
        pod["metadata"].setdefault("annotations", {})[ANNOTATION] = annotation
    return str(yaml.safe_dump(pod, sort_keys=False, width=1000))


def annotation_of(text: str, file: str = "") -> str:
    """Galley's annotation in a manifest; empty when there is none."""
    return str((_pod(text, file)["metadata"].get("annotations") or {}).get(ANNOTATION, ""))


def image_version(text: str, file: str = "") -> str:
    """The version in the tag of the first container's image, without `v`."""
    return str(_pod(text, file)["spec"]["containers"][0]["image"]).rpartition(":")[2].removeprefix("v")


def _pod(text: str, file: str) -> dict[str, Any]:
    try:
        pod = yaml.safe_load(text)
        container = pod["spec"]["containers"][0]
        if isinstance(pod["metadata"], dict) and isinstance(container["command"], list) and container["image"]:
            return pod  # type: ignore[no-any-return]
    except (yaml.YAMLError, KeyError, IndexError, TypeError):
        pass
    raise Rejected("is no static pod's manifest", file=file)
