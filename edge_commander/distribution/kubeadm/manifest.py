"""Changes in a static pod's manifest as kubeadm wrote it, and what it says. Pure."""

from __future__ import annotations

from typing import Any

import yaml

from agents.core.errors import Rejected

ANNOTATION = "galley/revision"
"""Set to a new value, the kubelet takes the manifest for that of a new pod."""


def changed(text: str, revision: str, file: str = "") -> str:
    """The manifest with Galley's annotation. Rejected when it is none."""
    pod = _pod(text, file)
    pod["metadata"].setdefault("annotations", {})[ANNOTATION] = revision
    return str(yaml.safe_dump(pod, sort_keys=False, width=1000))


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
