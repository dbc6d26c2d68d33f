"""The implementations of Distribution that the contract suite runs against, and what each can do.

A new one adds an entry to IMPLEMENTATIONS: how it is made on a running cluster, and the operations it refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.io.kube import Kube
from edge_commander.distribution.existing import ExistingCluster
from edge_commander.distribution.port import Distribution, Operation


@dataclass(frozen=True)
class Implementation:
    """`make(kubeconfig)`: on a cluster that runs; `unsupported`: what it can never do."""

    name: str
    make: Callable[[Path], Distribution]
    unsupported: frozenset[Operation]


async def connect(kubeconfig: Path | None) -> Any:
    return await Kube.connect(kubeconfig=kubeconfig, user_agent="edge-commander")


IMPLEMENTATIONS = [
    Implementation(
        name="existing",
        make=lambda kubeconfig: ExistingCluster(kubeconfig, connect),
        unsupported=frozenset(Operation) - {Operation.HEALTH, Operation.MEMBERS},
    ),
]
