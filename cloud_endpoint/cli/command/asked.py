"""What a person asks of nodes, as the command line says it, and the payloads to sign for it. Pure.

Verb, nodes or site, targets and args are the person's. Of the endpoint comes what only it can know: which nodes a site
has, each one's next sequence and challenge, and the site of a node that was named without one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agents.contracts.command import Command, Verb
from agents.contracts.ids import is_node_id, is_site_id
from agents.core.command_rules import ERASES, REBUILD, RULES, YES, wrong_args, wrong_target
from agents.core.command_verify import MAX_VALID_SECONDS
from cloud_endpoint.records import NextCommand

VALID = "1h"
_UNITS = {"s": 1, "m": 60, "h": 3600}
_REBUILD_FLAG = f"--arg {REBUILD}={YES}"
ONE_AT_A_TIME = (
    f"one node of a site is wiped at a time. For one: name it, and the next one when it is back. For all of them:"
    f" {_REBUILD_FLAG}, which sets the quorum aside. The site's cluster ends, and with it what only it held"
)
NODE_IDS = "such as n-abcdefghijklmnop; `galley node list` shows them"
NO_CHALLENGE = (
    "it published none yet, or its last one is used up. A node that is enrolled and online publishes another within a"
    " minute: see that it is (`galley node list`), wait until an earlier command has ended (`galley command status NODE"
    " --wait`), then do this again"
)


@dataclass(frozen=True)
class Asked:
    """`nodes`: empty where the whole `site` is meant; with both, the nodes must be of that site. `valid`: s."""

    verb: Verb
    nodes: Sequence[str]
    site: str
    targets: Sequence[str]
    args: Mapping[str, str]
    valid: int


def read(
    verb: str,
    nodes: Sequence[str],
    site: str,
    *,
    targets: Sequence[str] = (),
    args: Sequence[str] = (),
    valid: str = VALID,
) -> tuple[Asked | None, list[str]]:
    """What is asked, or all that is wrong with it."""
    problems = _whom(nodes, site)
    known = {one.value: one for one in Verb}
    if verb not in known:
        problems.insert(0, f"VERB must be one of {', '.join(known)}" + (f", not {verb[:64]!r}" if verb else ""))
    pairs = _pairs(args, problems)
    seconds = duration(valid)
    if seconds is None or not 1 <= seconds <= MAX_VALID_SECONDS:
        problems.append(f"--valid must be such as 30m or 2h, and at most {MAX_VALID_SECONDS // 3600}h")
    if verb in known:
        problems += _form(known[verb], targets, pairs)
    if problems:
        return None, problems
    asked = Asked(known[verb], nodes, site, targets, pairs, seconds or 0)
    whole = bool(site) and not nodes
    return asked, [f"{verb}: {ONE_AT_A_TIME}"] if whole and _one_at_a_time(asked) else []


def duration(text: str) -> int | None:
    """`90`, `90s`, `30m`, `2h` in s; None where it is none."""
    found = re.fullmatch(r"(\d{1,6})([smh]?)", text, re.ASCII)
    return int(found[1]) * _UNITS[found[2] or "s"] if found else None


def refused_by(asked: Asked, ready: Sequence[NextCommand]) -> list[str]:
    """Why what the endpoint says of these nodes does not fit what is asked."""
    problems = []
    for one in ready:
        if asked.site and one.site != asked.site:
            problems.append(f"{one.node} is of site {one.site or 'none'}, says the endpoint, not of {asked.site}")
        if not one.challenge:
            problems.append(f"{one.node} has no challenge to sign: {NO_CHALLENGE}")
    sites = Counter(one.site for one in ready)
    if _one_at_a_time(asked) and any(count > 1 for count in sites.values()):
        problems.append(f"{asked.verb.value}: {ONE_AT_A_TIME}")
    return problems


def payloads(asked: Asked, ready: Sequence[NextCommand], now: int, new_id: Callable[[], str]) -> list[Command]:
    """One command a node. `now`: Unix s."""
    return [
        Command(
            id=new_id(),
            verb=asked.verb,
            site=asked.site or one.site,
            node=one.node,
            sequence=one.sequence,
            challenge=one.challenge,
            issued=now,
            expires=now + asked.valid,
            targets=list(asked.targets),
            args=dict(asked.args),
        )
        for one in ready
    ]


def _one_at_a_time(asked: Asked) -> bool:
    return asked.verb in ERASES and asked.args.get(REBUILD) != YES


def _whom(nodes: Sequence[str], site: str) -> list[str]:
    problems = [f"{node[:64]!r} is no node id: {NODE_IDS}" for node in nodes if not is_node_id(node)]
    problems += [f"{node} is named twice" for node, count in Counter(nodes).items() if count > 1]
    if site and not is_site_id(site):
        problems.append(f"--site: {site[:64]!r} is no site id: such as store-01234; `galley site list` shows them")
    if not nodes and not site:
        problems.append(f"NODE or --site is needed: {NODE_IDS}, `galley site list` the sites")
    return problems


def _pairs(texts: Sequence[str], problems: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            problems.append(f"--arg {text[:64]!r} is not KEY=VALUE")
        elif name in found:
            problems.append(f"--arg {name[:64]} is given twice")
        elif max(len(name), len(value)) > 256:
            problems.append(f"--arg {name[:64]} is longer than 256 characters")
        else:
            found[name] = value
    return found


def _form(verb: Verb, targets: Sequence[str], args: Mapping[str, str]) -> list[str]:
    """What the table of rules says of targets and args."""
    wrong = [wrong_target(verb, targets), *wrong_args(verb, args)]
    if verb is Verb.UPGRADE and RULES[verb].needs - args.keys():
        wrong[-1] += " (`galley release sign` prints version and sha256; address: https://..., the files' folder)"
    return [one for one in wrong if one]
