"""What is asked of nodes: read off the command line, held against what the endpoint says, put into words. Pure."""

from __future__ import annotations

import itertools

import pytest

from agents.contracts.command import Command, SignedCommand, Verb
from agents.core.command_rules import ill_formed
from agents.core.command_verify import sign_command
from agents.core.jose import SoftwareKey, thumbprint
from cloud_endpoint.cli.command import asked, needed, status, words
from cloud_endpoint.cli.command.asked import Asked
from cloud_endpoint.records import NextCommand

ONE, TWO = "n-" + "a" * 16, "n-" + "b" * 16
KEY = SoftwareKey.generate("Ed25519")


def ready(node: str, site: str = "store-1", challenge: str = "c") -> NextCommand:
    return NextCommand(node=node, site=site, sequence=7, challenge=challenge)


def wanted(verb: str, *nodes: str, site: str = "", targets: tuple[str, ...] = (), args: tuple[str, ...] = ()) -> Asked:
    found, problems = asked.read(verb, nodes, site, targets=targets, args=args)
    assert problems == []
    assert found is not None
    return found


def signed(command: Command) -> SignedCommand:
    return sign_command(command, [KEY])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("", None), ("1d", None), ("-1", None), ("\u0661h", None)],
)
def test_durations(text: str, seconds: int | None) -> None:
    assert asked.duration(text) == seconds


def test_the_word_of_the_person_goes_into_the_payload_and_of_the_endpoint_only_what_it_alone_knows() -> None:
    ids = itertools.count()
    found = asked.payloads(
        wanted("wipe", ONE, site="store-1", targets=("var",), args=("reason=x=y",)),
        [ready(ONE, "store-9", "c1")],
        1000,
        lambda: f"{next(ids):032x}",
    )
    assert found == [
        Command(
            id="0" * 32,
            verb=Verb.WIPE,
            site="store-1",
            node=ONE,
            sequence=7,
            challenge="c1",
            issued=1000,
            expires=4600,
            targets=["var"],
            args={"reason": "x=y"},
        )
    ]
    assert ill_formed(found[0]) is None


def test_an_endpoint_that_says_otherwise_is_refused() -> None:
    named = wanted("rejoin", ONE, TWO, site="store-1")
    assert asked.refused_by(named, [ready(ONE), ready(TWO)]) == []
    assert asked.refused_by(named, [ready(ONE, "store-2"), ready(TWO, challenge="")]) == [
        f"{ONE} is of site store-2, says the endpoint, not of store-1",
        f"{TWO} has no challenge to sign: {asked.NO_CHALLENGE}",
    ]


@pytest.mark.parametrize(("verb", "target"), [("wipe", "var"), ("retire", "ident")])
def test_nodes_of_one_site_are_wiped_one_at_a_time_unless_the_site_is_rebuilt(verb: str, target: str) -> None:
    one_by_one = wanted(verb, ONE, TWO, targets=(target,))
    assert asked.refused_by(one_by_one, [ready(ONE, "store-1"), ready(TWO, "store-2")]) == []
    (said,) = asked.refused_by(one_by_one, [ready(ONE), ready(TWO)])
    assert "--arg rebuild=yes" in said
    rebuilt = wanted(verb, ONE, TWO, targets=(target,), args=("rebuild=yes",))
    assert asked.refused_by(rebuilt, [ready(ONE), ready(TWO)]) == []
    _, problems = asked.read(verb, [], "store-1", targets=[target])
    assert ["--arg rebuild=yes" in one for one in problems] == [True]


@pytest.mark.parametrize(
    ("words_", "problem"),
    [
        (("", [ONE], ""), "VERB must be one of sync"),
        (("format", [ONE], ""), "not 'format'"),
        (("sync", [], ""), "NODE or --site is needed"),
        (("sync", [ONE, ONE], ""), "named twice"),
        (("sync", [], "Store 1"), "is no site id"),
        (("wipe", [ONE], ""), "wipe names no target"),
        (("upgrade", [ONE], ""), "address, sha256, version missing (`galley release sign` prints"),
        (("sync", ["\x1b[2J"], ""), rf"'\x1b[2J' is no node id: {asked.NODE_IDS}"),
    ],
)
def test_what_cannot_be_asked(words_: tuple[str, list[str], str], problem: str) -> None:
    found, problems = asked.read(*words_)
    assert found is None
    assert [problem in one for one in problems] == [True]


def test_an_upgrade_that_does_not_say_to_what_is_not_signed() -> None:
    found, problems = asked.read("upgrade", [ONE], "", args=["version=1.4.0"])
    assert found is None
    assert [one.partition(" (")[0] for one in problems] == [
        "upgrade needs the args address, sha256, version: address, sha256 missing"
    ]
    _, problems = asked.read("upgrade", [ONE], "", targets=["var"], args=["version=x", "force=1"])
    assert [words in one for words, one in zip(("no target", "'version'", "'force'", "missing"), problems, strict=True)]


def test_args_are_read_strictly() -> None:
    _, problems = asked.read("sync", [ONE], "", args=["a", "=b", "reason=1", "reason=2", f"x={'y' * 257}"])
    assert [one.split()[-1] for one in problems] == ["KEY=VALUE", "KEY=VALUE", "twice", "characters"]


def command(**changes: object) -> Command:
    fields = {"id": "0" * 32, "verb": Verb.WIPE, "site": "store-1", "node": ONE, "sequence": 1, "challenge": "c"}
    return Command(**{**fields, "issued": 0, "expires": 5400, "targets": ["var"], **changes})  # type: ignore[arg-type]


def test_a_signer_is_told_what_is_lost_why_more_must_sign_and_until_when_it_counts() -> None:
    lines = words.told([command(targets=["var", "keep"], args={"rebuild": "yes"})], 0, 2)
    assert lines[0].startswith(f"  wipe of var, keep at {ONE} of site store-1 with rebuild=yes (sequence 1, id 0000")
    assert lines[1:] == [
        "erased for good: var (cluster state, images, volumes), keep (logs, snapshots)",
        words.REBUILDS,
        "wipe of keep destroys what nothing brings back: as many operators must sign as their document's threshold"
        " says, 2",
        "good until 1970-01-01 01:30:00 UTC, for 1 h 30 min",
    ]
    assert words.told([command(verb=Verb.SYNC, targets=[])], 5400)[-1].endswith("(EXPIRED)")
    assert words.told([command(expires=2**60)], 0)[-1].startswith(f"good until second {2**60}, for ")


def test_what_a_file_says_cannot_steer_the_terminal() -> None:
    line = words.line(command(targets=["var\x1b[2J"], args={"a\n": "\u202e"}))
    assert line.isprintable()
    assert "var?[2J" in line


def test_how_many_more_must_sign() -> None:
    keep, var = command(targets=["keep"]), command()
    assert needed.missing(keep, 1, 2).startswith("1 more operator must sign: wipe of keep")
    assert needed.missing(keep, 1, 3).startswith("2 more operators must sign: ")
    assert (needed.missing(keep, 2, 2), needed.missing(var, 1, 2), needed.missing(keep, 1, None)) == ("", "", "")


def test_a_key_that_signed_twice_is_one_signer() -> None:
    twice = sign_command(command(), [KEY, KEY])
    assert words.signers(twice) == [thumbprint(KEY.public)]
    assert words.signers(signed(command())) == [thumbprint(KEY.public)]


def test_the_state_of_a_command() -> None:
    row = {"outcome": None, "expires_ms": 1000}
    assert [status.state(row, now) for now in (999, 1000)] == ["waiting", "expired"]
    assert status.state({**row, "outcome": "refused"}, 2000) == "refused"
