"""Who may do what: verb by signer by state of the node, with the targets and args of each verb. One table. Pure.

The endpoint, the node and early boot all ask it. Where a rule names a state, edge_commander/states.py must list the
event; a test compares the two. Past a blast radius one person's word is not enough: docs/decisions/0056.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from agents.contracts.command import Command, Verb
from agents.contracts.messages import NodeState
from agents.contracts.wipe import Target


class Signer(StrEnum):
    """The least whose word is enough."""

    ENDPOINT = "endpoint"  # the endpoint's own key, or any operator's
    OPERATOR = "operator"  # one operator's key
    OPERATORS = "operators"  # as many as the operators' document's threshold says


@dataclass(frozen=True)
class Rule:
    """What one verb asks for. `args`: the names it takes, each with a regular expression that its whole value must
    match; `needs`: those without which it says too little. `targets`: those it may name, and must where there are any;
    `must`: those that are never left out."""

    signer: Signer
    states: frozenset[NodeState]
    args: Mapping[str, str]
    targets: frozenset[Target] = frozenset()
    must: frozenset[Target] = frozenset()
    needs: frozenset[str] = frozenset()


YES = "yes"
REBUILD = "rebuild"
"""Arg of `wipe` and `retire`: the whole site is built anew, so the quorum of the old cluster is not spared."""

SNAPSHOT = "snapshot"
"""Arg of `wipe` and `retire`: `no`, where the node need not keep a snapshot of the cluster first."""

_REASON = {"reason": r"[^\x00-\x1f\x7f]*"}
_REBUILD = {REBUILD: YES}
_SNAPSHOT = {SNAPSHOT: "no"}
_RELEASE = {
    "version": r"\d{1,6}(\.\d{1,6}){0,3}",
    "sha256": r"[0-9a-f]{64}",
    "address": r"https://[^\s?#\\]{1,200}",
}
"""Of an image: its version, the digest of its signed document, and the folder that all its files are in."""

_SETTLED = frozenset({NodeState.ASSIGNED, NodeState.FORMING, NodeState.READY})
_MEMBER = frozenset({NodeState.READY})


def _args(*more: Mapping[str, str]) -> Mapping[str, str]:
    """Those of one verb; every verb takes a `reason`, which is for people and the audit alone."""
    return MappingProxyType({name: value for one in (_REASON, *more) for name, value in one.items()})


RULES: Mapping[Verb, Rule] = MappingProxyType(
    {
        Verb.SYNC: Rule(Signer.ENDPOINT, _SETTLED, _args()),
        Verb.SNAPSHOT: Rule(Signer.ENDPOINT, _MEMBER, _args()),
        Verb.COLLECT_DIAGNOSTICS: Rule(Signer.ENDPOINT, _SETTLED, _args()),
        Verb.REBOOT: Rule(Signer.ENDPOINT, _SETTLED, _args()),
        Verb.WIPE: Rule(
            Signer.OPERATOR,
            _SETTLED,
            _args(_REBUILD, _SNAPSHOT),
            targets=frozenset({Target.VAR, Target.CONF, Target.KEEP}),
        ),
        Verb.RETIRE: Rule(
            Signer.OPERATORS,
            _SETTLED,
            _args(_REBUILD, _SNAPSHOT),
            targets=frozenset(Target),
            must=frozenset({Target.IDENT}),
        ),
        Verb.REJOIN: Rule(Signer.OPERATOR, _MEMBER, _args()),
        Verb.UPGRADE: Rule(Signer.OPERATOR, _SETTLED, _args(_RELEASE), needs=frozenset(_RELEASE)),
        Verb.ROTATE: Rule(Signer.OPERATOR, _MEMBER, _args()),
    }
)
"""All there is. A node that is not enrolled has no site that a command could name; one that is being wiped or is
retired has at most an answer to give."""

WIDE_TARGETS = frozenset({Target.KEEP, Target.IDENT})
"""What nobody can bring back: snapshots and logs, the identity. The rest is made anew from the Atlas."""

ENDPOINT_MAY_SIGN = frozenset(verb for verb, rule in RULES.items() if rule.signer is Signer.ENDPOINT)
"""Verbs that need no operator."""

ERASES = frozenset(verb for verb, rule in RULES.items() if rule.targets)
"""Verbs that end in an erased partition: of these a site has one at a time."""


def permitted(command: Command, state: NodeState) -> str:
    """Empty where a node in `state` may do it; else why not, in words for people. Signatures are not looked at."""
    wrong = ill_formed(command)
    if wrong is not None:
        return wrong[1]
    verb, allowed = command.verb.value, RULES[command.verb].states
    if state in allowed:
        return ""
    if state is NodeState.RETIRED:
        return f"{verb} is refused: the node is retired for good"
    if state is NodeState.WIPING:
        return f"{verb} is refused: the node is being wiped, and takes nothing else until that has ended"
    names = " or ".join(one.value for one in NodeState if one in allowed)
    return f"{verb} is refused: the node is {state.value}, and must be {names}"


def ill_formed(command: Command) -> tuple[str, str] | None:
    """A stable code (`target`, `args`) and the words, where the verb does not take such targets or args; else None."""
    if words := wrong_target(command.verb, command.targets):
        return "target", words
    wrong = wrong_args(command.verb, command.args)
    return ("args", wrong[0]) if wrong else None


def wrong_target(verb: Verb, targets: Sequence[str]) -> str:
    """What is wrong with a verb's targets, in words; empty where nothing is."""
    rule = RULES[verb]
    known = [one.value for one in Target if one in rule.targets]
    for name in targets:
        if name not in known:
            return f"{verb.value} takes {', '.join(known) or 'no target'}, not {name!r}"
    if len(set(targets)) != len(targets):
        return f"{verb.value} names a target twice"
    if rule.targets and not targets:
        return f"{verb.value} names no target"
    missing = sorted(one.value for one in rule.must if one.value not in targets)
    return f"{verb.value} must name {', '.join(missing)}" if missing else ""


def wrong_args(verb: Verb, args: Mapping[str, str]) -> list[str]:
    """All that is wrong with a verb's args, in words; those that it lacks come last."""
    rule, wrong = RULES[verb], []
    for name, value in args.items():
        if name not in rule.args:
            wrong.append(f"{verb.value} takes no arg {name!r}, only {', '.join(sorted(rule.args))}")
        elif re.fullmatch(rule.args[name], value) is None:
            wrong.append(f"{verb.value} does not take this value of {name!r}")
    if missing := sorted(rule.needs - args.keys()):
        wrong.append(f"{verb.value} needs the args {', '.join(sorted(rule.needs))}: {', '.join(missing)} missing")
    return wrong


def wide(command: Command) -> str:
    """Why one operator's word is not enough for it, in words; empty where it is."""
    rule = RULES[command.verb]
    if rule.signer is Signer.ENDPOINT:
        return ""
    if rule.signer is Signer.OPERATORS:
        return f"{command.verb.value} ends an identity for good"
    named = [one.value for one in Target if one in WIDE_TARGETS and one.value in command.targets]
    if named:
        return f"{command.verb.value} of {', '.join(named)} destroys what nothing brings back"
    if rebuilds(command):
        return "a rebuild of the whole site sets its quorum aside"
    return ""


def rebuilds(command: Command) -> bool:
    """Whether it belongs to a signed rebuild of the whole site."""
    return command.verb in ERASES and command.args.get(REBUILD) == YES


def signatures_needed(command: Command, threshold: int) -> int:
    """How many distinct operators must have signed: 0 where the endpoint's word is enough, 1, or `threshold` (of the
    operators' document, at least 1) past a blast radius."""
    if RULES[command.verb].signer is Signer.ENDPOINT:
        return 0
    return max(1, threshold) if wide(command) else 1
