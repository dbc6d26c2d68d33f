"""Who may do what, whole: every verb by signer by state, and by targets and args, against a table written by hand."""

from __future__ import annotations

import itertools

import pytest
from msgspec import structs

from agents.contracts.command import Command, Verb
from agents.contracts.messages import NodeState
from agents.contracts.wipe import Target
from agents.core.command_rules import ERASES, RULES, ill_formed, permitted, rebuilds, signatures_needed, wide
from edge_commander.states import TABLE, Event

STATES = ["factory", "enrolling", "assigned", "forming", "ready", "wiping", "retired"]
#                                     operators needed of a threshold of 3; then: in which states (columns as STATES)
#                                     |       fac enr asg for rdy wip ret
BY_HAND: dict[tuple[str, str], tuple[int, str]] = {
    ("sync", ""): (0, "               -   -   x   x   x   -   - "),
    ("snapshot", ""): (0, "           -   -   -   -   x   -   - "),
    ("collect-diagnostics", ""): (0, "-   -   x   x   x   -   - "),
    ("reboot", ""): (0, "             -   -   x   x   x   -   - "),
    ("wipe", "var"): (1, "            -   -   x   x   x   -   - "),
    ("wipe", "conf"): (1, "           -   -   x   x   x   -   - "),
    ("wipe", "conf var"): (1, "       -   -   x   x   x   -   - "),
    ("wipe", "keep"): (3, "           -   -   x   x   x   -   - "),
    ("wipe", "conf keep var"): (3, "  -   -   x   x   x   -   - "),
    ("wipe", "var rebuild"): (3, "    -   -   x   x   x   -   - "),
    ("retire", "ident"): (3, "        -   -   x   x   x   -   - "),
    ("retire", "ident var"): (3, "    -   -   x   x   x   -   - "),
    ("retire", "all"): (3, "          -   -   x   x   x   -   - "),
    ("retire", "ident rebuild"): (3, "-   -   x   x   x   -   - "),
    ("rejoin", ""): (1, "             -   -   -   -   x   -   - "),
    ("upgrade", ""): (1, "            -   -   x   x   x   -   - "),
    ("rotate", ""): (1, "             -   -   -   -   x   -   - "),
}
NEEDED = {"upgrade": {"version": "1.4.0", "sha256": "0a" * 32, "address": "https://images.example/1.4.0"}}
ALL = ["var", "conf", "keep", "ident"]


def command(verb: str, *words: str, **args: str) -> Command:
    targets = ALL if words == ("all",) else [one for one in words if one != "rebuild"]
    if "rebuild" in words:
        args["rebuild"] = "yes"
    args = NEEDED.get(verb, {}) | args
    return Command(
        id="0" * 32, verb=Verb(verb), site="store-1", node="n-aaaaaaaaaaaaaaaa", sequence=1, challenge="c",
        issued=1, expires=2, targets=targets, args=args,
    )  # fmt: skip


@pytest.mark.parametrize(("verb", "words"), BY_HAND)
def test_each_verb_by_signer_and_state(verb: str, words: str) -> None:
    needed, columns = BY_HAND[verb, words]
    one = command(verb, *words.split())
    assert ill_formed(one) is None
    for threshold in (0, 1, 2, 3, 16):
        assert signatures_needed(one, threshold) == (max(1, threshold) if needed == 3 else needed)
    assert bool(wide(one)) is (needed == 3)
    for state, mark in zip(STATES, columns.split(), strict=True):
        why = permitted(one, NodeState(state))
        assert (why == "") is (mark == "x"), (state, why)
        assert mark == "x" or (verb in why and {"wiping": "wiped"}.get(state, state) in why)


def test_the_table_names_every_verb_and_every_state() -> None:
    assert {verb for verb, _ in BY_HAND} == {one.value for one in Verb} == {one.value for one in RULES}
    assert set(STATES) == {one.value for one in NodeState}


def test_the_rules_agree_with_the_state_machine() -> None:
    listed = {event: {state for state, row in TABLE.items() if event in row} for event in Event}
    assert RULES[Verb.WIPE].states == listed[Event.WIPE_ARMED]
    # A retirement is a wipe that takes the identity too: it arms, and at its end the node is retired.
    assert RULES[Verb.RETIRE].states == listed[Event.WIPE_ARMED] & listed[Event.RETIRED]
    assert NodeState.WIPING in listed[Event.RETIRED]
    assert RULES[Verb.REJOIN].states == listed[Event.REJOIN]
    # Nothing is taken where no site is known yet, while a wipe runs, or after the end.
    takes = {state for rule in RULES.values() for state in rule.states}
    assert takes == {NodeState.ASSIGNED, NodeState.FORMING, NodeState.READY}


def test_every_set_of_targets_for_every_verb() -> None:
    """All 16 sets in each verb: what is taken is exactly what may be erased by it."""
    for verb, size in itertools.product(Verb, range(len(ALL) + 1)):
        for names in itertools.combinations(ALL, size):
            if verb is Verb.WIPE:
                good = bool(names) and "ident" not in names
            elif verb is Verb.RETIRE:
                good = "ident" in names
            else:
                good = not names
            found = ill_formed(command(verb.value, *names))
            assert found is None if good else (found is not None and found[0] == "target"), (verb, names)
    assert {verb.value for verb in ERASES} == {"wipe", "retire"}
    assert [one.value for one in Target] == ALL


@pytest.mark.parametrize(
    "name", ["/dev/sda", "/dev/disk/by-label/var", "../var", "VAR", "var ", "", "root-a", "journal", "esp", "*", "vär"]
)
def test_a_target_is_a_name_of_the_list_and_never_a_path(name: str) -> None:
    for verb in Verb:
        for targets in ([name], ["ident", name] if verb is Verb.RETIRE else ["var", name]):
            found = ill_formed(command(verb.value, *targets))
            assert found is not None and found[0] == "target"


def test_a_target_named_twice_is_refused() -> None:
    for verb, first in (("wipe", "var"), ("retire", "ident")):
        found = ill_formed(command(verb, first, first))
        assert found is not None and "twice" in found[1]


FIRST = {"wipe": ["var"], "retire": ["ident"]}
TAKES = {
    "rebuild": ({"wipe", "retire"}, ["yes"], ["no", "Yes", "yes ", "", "1", "yes\n"]),
    "snapshot": ({"wipe", "retire"}, ["no"], ["yes", "No", "", "no\n"]),
    "version": ({"upgrade"}, ["1.4", "2026.11.26"], ["", "latest", "v1.4", "1.4; reboot", "1.4\n", "1..4"]),
    "sha256": ({"upgrade"}, ["0a" * 32], ["", "0A" * 32, "0a" * 31, "0a" * 32 + "\n"]),
    "address": (
        {"upgrade"}, ["https://images.example/1.4"],
        ["", "http://images.example", "https://x/?a", "https://x/#a", "https://a b", "https://x\\y", "file:///etc"],
    ),
    "reason": (
        {one.value for one in Verb}, ["", "disk errors in store 1, ticket 4711"], ["two\nlines", "bell\a", "\x7f"],
    ),
    "device": (set[str](), [], ["/dev/sda", ""]),
    "": (set[str](), [], ["", "yes"]),
    "Rebuild": (set[str](), [], ["yes"]),
    "force": (set[str](), [], ["yes"]),
}  # fmt: skip


@pytest.mark.parametrize("verb", [one.value for one in Verb])
def test_the_args_of_each_verb_and_no_others(verb: str) -> None:
    for name, (verbs, good, bad) in TAKES.items():
        for value in good + bad:
            found = ill_formed(command(verb, *FIRST.get(verb, []), **{name: value}))
            if verb in verbs and value in good:
                assert found is None, (name, value)
            else:
                assert found is not None and found[0] == "args", (name, value)
                assert permitted(command(verb, *FIRST.get(verb, []), **{name: value}), NodeState.READY) == found[1]
    assert {name for name, (verbs, _, _) in TAKES.items() if verb in verbs} == set(RULES[Verb(verb)].args)


@pytest.mark.parametrize("verb", [one.value for one in Verb])
def test_what_a_verb_cannot_do_without_is_named(verb: str) -> None:
    whole = command(verb, *FIRST.get(verb, []))
    assert RULES[Verb(verb)].needs == set(NEEDED.get(verb, {})) <= set(RULES[Verb(verb)].args)
    for size in range(len(whole.args)):
        for names in itertools.combinations(sorted(whole.args), size):
            some = structs.replace(whole, args={name: whole.args[name] for name in names})
            missing = ", ".join(sorted(set(whole.args) - set(names)))
            found = ill_formed(some)
            assert found == ("args", f"upgrade needs the args address, sha256, version: {missing} missing")
            assert permitted(some, NodeState.READY) == found[1]


def test_only_a_wipe_or_a_retirement_can_be_of_a_rebuild() -> None:
    for verb in Verb:
        assert rebuilds(command(verb.value, "rebuild")) is (verb in ERASES)
        assert not rebuilds(command(verb.value))


def test_the_table_cannot_be_changed() -> None:
    for change in (
        lambda: RULES.__setitem__(Verb.WIPE, RULES[Verb.SYNC]),  # type: ignore[attr-defined]
        lambda: RULES[Verb.WIPE].args.__setitem__("force", ".*"),  # type: ignore[attr-defined]
        lambda: setattr(RULES[Verb.WIPE], "signer", RULES[Verb.SYNC].signer),
    ):
        with pytest.raises((TypeError, AttributeError)):
            change()
