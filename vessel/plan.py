"""What must be sent, decided from what is read: the Atlas, the inventory, and the live objects. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from vessel.health import Health
from vessel.inventory import Entry, Inventory, Key
from vessel.model import Ref
from vessel.objects import Item


@dataclass(frozen=True)
class Observed:
    """What is kept of a live object. `fields`: digest of what of it is ours; `label`: its app label."""

    uid: str
    resource_version: str
    fields: str
    health: Health
    label: str = ""
    deleting: bool = False


class Action(StrEnum):
    """What an item needs."""

    KEEP = "keep"
    CREATE = "create"
    CHANGE = "change"  # the manifest is another than the one applied last
    REPAIR = "repair"  # the manifest is the same, the object is not as we left it


@dataclass(frozen=True)
class Step:
    """An item and what it needs."""

    item: Item
    action: Action


See = Callable[[Item], Observed | None]


def decide(item: Item, entry: Entry | None, seen: Observed | None) -> Action:
    """The verdict on one item."""
    if seen is None or seen.deleting:
        if entry is not None and entry.finished and entry.digest == item.digest and seen is None:
            return Action.KEEP  # a completed Job, taken away by its TTL: running it again is not a repair
        return Action.CREATE
    if entry is None or entry.digest != item.digest:
        return Action.CHANGE
    if not seen.fields or seen.fields != entry.fields or seen.uid != entry.uid:
        return Action.REPAIR
    return Action.KEEP


def plan(items: Iterable[Item], inventories: Mapping[str, Inventory], see: See) -> tuple[Step, ...]:
    """One step for each item, in the items' order."""
    return tuple(
        Step(
            item,
            decide(item, inventories[item.app].entries.get(item.key) if item.app in inventories else None, see(item)),
        )
        for item in items
    )


def leaving(inventories: Mapping[str, Inventory], wanted: Iterable[Key]) -> dict[str, tuple[Ref, ...]]:
    """What is in the inventory and in no app of the commit any more, by the app that has it."""
    keep = frozenset(wanted)
    return {
        app: refs
        for app, inventory in inventories.items()
        if (refs := tuple(sorted(entry.ref for key, entry in inventory.entries.items() if key not in keep)))
    }


def moved(inventories: Mapping[str, Inventory], items: Iterable[Item]) -> dict[str, tuple[Key, ...]]:
    """What is in one app's inventory and belongs to another app in the commit: its entry goes, the object stays."""
    owner = {item.key: item.app for item in items}
    return {
        app: keys
        for app, inventory in inventories.items()
        if (keys := tuple(key for key in inventory.entries if owner.get(key, app) != app))
    }
