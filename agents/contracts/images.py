"""Which images the cluster is about to need, and which node has them: two ConfigMaps of `galley-system`. Pure.

Vessel writes the first once a commit passed its dry run and before it is applied; each node's Edge Commander pulls what
is missing and writes its own line of the second.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from agents.contracts.codec import Struct
from agents.contracts.messages import Count, Short, Text

NAMESPACE = "galley-system"
WANTED = "galley-images"
"""Vessel's ConfigMap: `WantedImages` under the key `KEY`."""
NODES = "galley-node-images"
"""The commanders': one `NodeImages` a key, which is the Node's name."""
KEY = "wanted"
MAX_IMAGES = 256
Version = Annotated[int, msgspec.Meta(ge=1, le=1)]
Reference = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[a-zA-Z0-9](?:[-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)(?:\.[a-zA-Z0-9](?:[-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)*"
_DOMAIN = rf"(?:{_HOST}|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?"
_WHOLE = re.compile(
    rf"(?:(?P<domain>{_DOMAIN})/)?(?P<path>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][-.A-Za-z0-9_]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
"""Grammar of github.com/distribution/reference, which containerd and kubelet use; digests of sha256 alone."""
MAX_NAME = 255


class WantedImages(Struct, frozen=True, kw_only=True):
    """All images of one commit of the Atlas, whole references in order. `left_out`: image to why it is not pulled
    ahead."""

    v: Version = 1
    revision: Short
    images: Annotated[list[Reference], msgspec.Meta(max_length=MAX_IMAGES)] = []
    left_out: dict[Reference, Text] = {}


class NodeImages(Struct, frozen=True, kw_only=True):
    """How far one node is with a commit's images. `missing`: how many it still tries to pull; `failed`: image to why
    it gave up for now; `fetched`: bytes that came over the line for this commit. `revision` empty: none was asked."""

    v: Version = 1
    revision: Annotated[str, msgspec.Meta(max_length=256)] = ""
    missing: Count = 0
    failed: dict[Reference, Text] = {}
    fetched: Count = 0


def normal(reference: str) -> str:
    """The whole reference, as containerd names the image: `nginx` is `docker.io/library/nginx:latest`; beside a digest
    the tag means nothing and goes. Empty for what is no reference.

    Source: distribution/reference, `ParseDockerRef`.
    """
    found = _WHOLE.fullmatch(reference) if len(reference) <= 512 else None
    if found is None:
        return ""
    domain, path, tag, digest = (found[name] or "" for name in ("domain", "path", "tag", "digest"))
    if domain and not (set(domain) & set(".:") or domain == "localhost" or domain != domain.lower()):
        domain, path = "", f"{domain}/{path}"
    if not domain or domain == "index.docker.io":
        domain = "docker.io"
    if domain == "docker.io" and "/" not in path:
        path = f"library/{path}"
    name = f"{domain}/{path}"
    if len(name) > MAX_NAME or _WHOLE.fullmatch(name) is None:
        return ""
    return f"{name}@{digest}" if digest else f"{name}:{tag or 'latest'}"
