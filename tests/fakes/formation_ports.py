"""Two ports of a simulated node: who begins the cluster, and what upgrades."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents.core.errors import Rejected, Retryable
from edge_commander.formation.permission import BegunBefore, Choice
from edge_commander.formation.site import Site
from edge_commander.reasons import NOTHING, Reason

if TYPE_CHECKING:
    from tests.fakes.formation_world import World


class FakeRoller:
    """Has nothing to do; counts its looks."""

    aside = NOTHING

    def __init__(self) -> None:
        self.looks = 0

    async def turn(self, site: Site) -> Reason:
        self.looks += 1
        return NOTHING


@dataclass
class Gate:
    """The endpoint's compare-and-set, and what the box remembers of it on ident."""

    world: World
    name: str

    async def decide(self, site: Site, *, begins: bool) -> Choice:
        if not self.world.cloud:
            raise Retryable("the endpoint cannot be reached")
        assert not site.is_worker, "a worker decides"
        who = self.world.grants.setdefault(site.epoch, self.name) if begins else self.world.grants.get(site.epoch)
        if who is None:
            raise Retryable("nobody is decided on yet")
        return Choice(who, who == self.name)

    async def claim(self, site: Site) -> None:
        if self.world.offline:
            return
        lives = self.world.disks[self.name].lives
        if site.epoch not in lives:
            self.world.point()
            self.world.marks += 1
            lives[site.epoch] = f"{self.name}.{self.world.marks}"
        self.world.point()
        if not self.world.cloud:
            raise Retryable("the endpoint cannot be reached")
        if self.world.begun.setdefault(site.epoch, lives[site.epoch]) != lives[site.epoch]:
            raise BegunBefore("it was begun before")
        self.world.point()

    async def begin(self, site: Site, *, resumes: bool) -> None:
        self.world.point()
        assert not site.is_worker, "a worker begins"
        disk = self.world.disks[self.name]
        if site.epoch in disk.lost:
            raise Rejected("it was lost here")
        if site.epoch in disk.ended and not resumes:
            raise Rejected("it was done here")
        self.world.point()

    async def end(self, site: Site) -> None:
        self.world.point()
        self.world.disks[self.name].ended.add(site.epoch)
        self.world.point()

    async def lost(self) -> None:
        self.world.point()
        self.world.disks[self.name].lost.add(self.world.epoch)
        self.world.point()
