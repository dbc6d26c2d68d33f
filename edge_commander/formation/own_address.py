"""This node's own address on the LAN: the roster's, or the one by which its siblings are reached. Touches the kernel's
routes (nothing is sent) and one small file on `var`.

A cluster knows its members by their addresses: etcd's peers and certificates name them. A member whose address changed
is told to a person and left as it is, rather than half moved.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from agents.contracts.identity import Member
from agents.contracts.siblings import FormationStatus, Stage
from agents.core.errors import Rejected
from agents.io.state import StateFile
from edge_commander.formation.site import Site
from edge_commander.reasons import Reason, Why
from edge_commander.siblings.members import place

ANYWHERE = "192.0.2.1"
"""Of RFC 5737: no host has it, so it goes by the default route; nothing is sent."""


class Begun(msgspec.Struct, frozen=True):
    """The address with which the cluster of `epoch` was begun on this disk."""

    epoch: int
    address: str


class OwnAddress:
    """Fills in what the roster leaves out, and keeps to it once the cluster was begun."""

    def __init__(self, state_dir: Path) -> None:
        self._file = StateFile(state_dir / "own-address.json", Begun)
        self._begun: Begun | None = None
        self._read = False

    def fill(
        self, site: Site, status: FormationStatus | None, reached: Mapping[str, str]
    ) -> tuple[Site, Reason | None]:
        """The site with this node's address in its line, and why nothing may go on. `status`: this node's own;
        `reached`: where siblings were last. Raises Retryable where the disk cannot be written."""
        said = site.own.address
        if said:
            return site, moved(said, "the roster says") if _bare(said) else None
        begun = self._load() if status is not None and status.stage in (Stage.STARTED, Stage.MEMBER) else None
        if begun is not None and begun.epoch == site.epoch:
            return _with(site, begun.address), moved(begun.address, "the cluster was begun at")
        address = towards(_siblings(site, reached))
        if not address:
            return site, None
        self._keep(Begun(site.epoch, address))
        return _with(site, address), None

    def _load(self) -> Begun | None:
        if not self._read:
            self._begun, self._read = self._file.load(), True
        return self._begun

    def _keep(self, begun: Begun) -> None:
        """Before the cluster is begun, so that it is there however early power fails."""
        if self._load() != begun:
            self._file.save(begun)
            self._begun = begun


def moved(address: str, whose: str) -> Reason | None:
    """The reason where `address` is not this machine's any more and another one is; None while it has none at all."""
    if is_here(address) or not (now := towards([address])):
        return None
    return Reason(Why.ADDRESS, f"{whose} {address}, this node has {now}")


def is_here(address: str) -> bool:
    """Whether one of this machine's interfaces has it."""
    with socket.socket(_family(address), socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            return error.errno != errno.EADDRNOTAVAIL
    return True


def towards(targets: Iterable[str]) -> str:
    """This machine's address on the way to the first target that it has a way to; empty where it has none."""
    for target in targets:
        with contextlib.suppress(OSError), socket.socket(_family(target), socket.SOCK_DGRAM) as probe:
            probe.connect((target, 9))  # a route is looked up, no packet leaves
            own = str(probe.getsockname()[0])
            if not ipaddress.ip_address(own).is_unspecified:
                return own
    return ""


def _siblings(site: Site, reached: Mapping[str, str]) -> list[str]:
    """Where siblings are, by what they proved, then by the roster; never by a hint."""
    found = [reached[node] for node in sorted(site.others) if node in reached]
    for member in site.others.values():
        if member.address:
            with contextlib.suppress(Rejected):
                found.append(place(member, 1)[0])
    return [*found, ANYWHERE]


def _with(site: Site, address: str) -> Site:
    own = msgspec.structs.replace(site.own, address=address)

    def filled(members: Iterable[Member]) -> tuple[Member, ...]:
        return tuple(own if one.node == site.me else one for one in members)

    return replace(site, roster=filled(site.roster), workers=filled(site.workers))


def _bare(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
