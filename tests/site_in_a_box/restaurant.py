"""One site of a town: its plan, and everything that plays it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.site_in_a_box.atlas_repo import AtlasRepo
from tests.site_in_a_box.kube_site import KubeSite
from tests.site_in_a_box.node import Node

EXAMPLE = Path(__file__).resolve().parent.parent.parent / "examples" / "atlas"


@dataclass(frozen=True)
class RestaurantPlan:
    """One site. `labels`: provider, region and so on. `kubeconfig`: an existing cluster instead of one made here.

    `atlas`: the folder its repository is filled with. `samples`: a folder of manifests for more apps.
    """

    site: str
    nodes: int = 3
    labels: dict[str, str] = field(default_factory=dict)
    kubeconfig: Path | None = None
    atlas: Path = EXAMPLE
    samples: Path | None = None


@dataclass
class Restaurant:
    """A site with everything that plays it. `kube` is None on an existing cluster."""

    plan: RestaurantPlan
    number: int
    repo: AtlasRepo
    git_password: str = field(repr=False)
    kube: KubeSite | None = None
    kubeconfig: Path = Path()
    admin_kubeconfig: Path = Path()
    nodes: list[Node] = field(default_factory=list)

    @property
    def site(self) -> str:
        """The site's id."""
        return self.plan.site

    @property
    def names(self) -> list[str]:
        """The names of its nodes."""
        return [f"{self.site}-nuc{number}" for number in range(1, self.plan.nodes + 1)]
