"""The overlay's rules on trees that are written down here: what may differ, what is newer, what is told."""

from __future__ import annotations

import msgspec
import pytest

from agents.contracts.messages import Alert, Overlay
from edge_commander.overlay.allowed import BUILT_IN, Allowed
from edge_commander.overlay.changes import Change, differences, folded
from edge_commander.overlay.layers import Entry, Kind, doubled, fingerprint, merged, plain
from edge_commander.overlay.rule import Act, Made, Part, State, Verdict, judge, manifest, masks, remembered
from edge_commander.overlay.settings import OverlaySettings
from edge_commander.overlay.summary import Summary, Told, digest, first, news

DIR = Entry(kind=Kind.DIRECTORY, mode=0o755)
OPAQUE = msgspec.structs.replace(DIR, opaque=True)
GONE = Entry(kind=Kind.WHITEOUT)


def file(content: str, mode: int = 0o644) -> Entry:
    return Entry(kind=Kind.FILE, mode=mode, content=content)


def moved(source: str) -> Entry:
    return msgspec.structs.replace(DIR, redirect=source)


FIRST = {"": DIR, "passwd": file("1"), "hosts": file("1"), "d": DIR, "d/a": file("1"), "d/b": file("1")}
SECOND = {**FIRST, "passwd": file("2"), "hosts": file("2"), "d/a": file("2"), "d/c": file("2")}


def after(upper: dict[str, Entry], lower: dict[str, Entry] = FIRST, before: State | None = None) -> State:
    """What is remembered after a start on an image."""
    return remembered(judge(upper, lower, before, Allowed()), "1", manifest(lower), 0)


def acts(upper: dict[str, Entry], lower: dict[str, Entry], state: State | None) -> dict[str, str]:
    return {one.mask.key: one.act for one in judge(upper, lower, state, Allowed()) if one.act is not Act.STAY}


@pytest.mark.parametrize(
    ("path", "may"),
    [
        ("machine-id", True),
        ("machine-id.old", False),
        ("ssh/ssh_host_ed25519_key.pub", True),
        ("ssh/ssh_host_ed25519_key.pub/x", False),
        ("ssh/sshd_config", False),
        ("kubernetes", True),
        ("kubernetes/pki/ca.key", True),
        ("kubernetes.d", False),
        ("systemd", False),
        ("passwd", False),
        ("", False),
        ("chrony/x", True),
        ("apt/a.conf", True),
        ("apt/a/b.conf", False),
        ("dot+", True),
        ("dott", False),
    ],
)
def test_what_may_differ(path: str, may: bool) -> None:
    assert Allowed(["chrony/", "apt/*.conf", "dot+"]).covers(path) is may


def test_the_way_to_what_may_differ_may_be_made() -> None:
    allowed = Allowed(["a/b/c"])
    assert [path for path in ("a", "a/b", "a/b/c", "a/x", "ssh") if allowed.leads(path)] == ["a", "a/b", "ssh"]


@pytest.mark.parametrize("pattern", ["/etc/x", "../x", "a/../b", "a//b", ".", "", "a\x00"])
def test_a_pattern_that_is_no_path_below_etc_is_refused(pattern: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="allow"):
        msgspec.convert({"allow": [pattern]}, OverlaySettings)
    assert msgspec.convert({"allow": list(BUILT_IN)}, OverlaySettings).allow == list(BUILT_IN)


def test_the_first_start_remembers_and_does_nothing() -> None:
    upper = {"": DIR, "passwd": file("mine"), "d": OPAQUE}
    assert acts(upper, SECOND, None) == {}
    assert set(after(upper).made) == {"", "passwd", "d/"}


def test_what_hides_a_newer_file_goes_and_what_may_differ_is_told() -> None:
    upper = {"": DIR, "passwd": file("mine"), "hosts": file("mine"), "d": DIR, "d/b": file("mine")}
    assert acts(upper, SECOND, after(upper)) == {"passwd": Act.DROP, "hosts": Act.TELL}
    assert acts(upper, FIRST, after(upper)) == {}


def test_a_file_that_a_start_did_not_see_yet_was_made_of_the_image_that_ran() -> None:
    upper = {"": DIR, "passwd": file("mine")}
    assert acts(upper, SECOND, after({"": DIR})) == {"passwd": Act.DROP}


def test_a_file_written_again_on_the_new_image_was_made_of_it() -> None:
    told = after({"": DIR, "hosts": file("mine")})
    once = {"": DIR, "hosts": file("mine")}
    assert acts(once, SECOND, told) == {"hosts": Act.TELL}
    second = remembered(judge(once, SECOND, told, Allowed()), "2", manifest(SECOND), 0)
    assert acts(once, SECOND, second) == {"hosts": Act.TELL}  # until somebody looks at it
    assert acts({"": DIR, "hosts": file("merged")}, SECOND, second) == {}


def test_an_unchanged_copy_follows_the_image_also_where_it_may_differ() -> None:
    upper = {"": DIR, "passwd": file("1"), "hosts": file("1")}
    assert acts(upper, SECOND, after(upper)) == {"passwd": Act.FOLLOW, "hosts": Act.FOLLOW}


def test_a_copy_that_is_as_the_new_image_has_it_hides_nothing() -> None:
    upper = {"": DIR, "passwd": file("2")}
    assert acts(upper, SECOND, after(upper)) == {}


def test_a_file_that_a_new_image_brings_hides_below_one_that_was_added() -> None:
    upper = {"": DIR, "d": DIR, "d/c": file("mine")}
    assert acts(upper, SECOND, after(upper)) == {"d/c": Act.DROP}


def test_a_file_that_the_new_image_has_no_more_hides_nothing() -> None:
    upper = {"": DIR, "passwd": file("mine"), "d": OPAQUE}
    lower = {path: one for path, one in FIRST.items() if path not in ("passwd", "d/a")}
    assert acts(upper, lower, after(upper)) == {}


def test_whiteouts_and_opaque_directories() -> None:
    upper = {"": DIR, "passwd": GONE, "hosts": GONE, "d": OPAQUE, "d/own": file("mine")}
    assert acts(upper, SECOND, after(upper)) == {"passwd": Act.DROP, "hosts": Act.TELL, "d/": Act.MERGE}
    whole = {"": DIR, "d": GONE}
    verdict = next(one for one in judge(whole, SECOND, after(whole), Allowed()) if one.act is not Act.STAY)
    assert (verdict.act, verdict.newer) == (Act.DROP, ["d/a", "d/c"])
    assert verdict.words() == "hid what the image has newer: d/a, d/c"


def test_a_directory_follows_the_images_mode() -> None:
    shut = {**FIRST, "d": msgspec.structs.replace(DIR, mode=0o700)}
    copied, own = {"": DIR, "d": DIR}, {"": DIR, "d": msgspec.structs.replace(DIR, mode=0o777)}
    (found,) = (one for one in judge(copied, shut, after(copied), Allowed()) if one.act is not Act.STAY)
    assert (found.act, found.copy) == (Act.ADOPT, True)
    (found,) = (one for one in judge(own, shut, after(own), Allowed()) if one.act is not Act.STAY)
    assert (found.act, found.copy) == (Act.ADOPT, False)


def test_what_may_differ_is_never_dropped_with_a_directory() -> None:
    lower = {"": DIR, "ssh": file("1")}
    upper = {"": DIR, "ssh": OPAQUE, "ssh/ssh_host_rsa_key": file("key")}
    newer = {"": DIR, "ssh": file("2")}
    assert acts(upper, newer, after(upper, lower)) == {"ssh/": Act.TELL}
    assert acts({"": DIR, "ssh": OPAQUE}, newer, after({"": DIR, "ssh": OPAQUE}, lower)) == {"ssh/": Act.DROP}


def test_a_moved_directory_loses_its_mark_where_its_origin_shows_again() -> None:
    upper = {"": DIR, "d": GONE, "e": moved("d")}
    assert doubled(upper, FIRST) == []
    assert acts(upper, FIRST, after(upper)) == {}
    without = {"": DIR, "e": moved("d")}
    assert doubled(without, FIRST) == ["e"]
    assert acts(without, FIRST, after(upper)) == {"e/": Act.MERGE}


def test_a_file_without_content_of_its_own_goes_in_any_case() -> None:
    upper = {"": DIR, "hosts": msgspec.structs.replace(file(""), metacopy=True)}
    (verdict,) = (one for one in judge(upper, FIRST, None, Allowed()) if one.act is not Act.STAY)
    assert (verdict.act, verdict.words()) == (Act.DROP, "holds no content of its own (metacopy)")


def test_masks_name_what_they_hide() -> None:
    upper = {"": DIR, "d": GONE, "passwd": DIR, "e": moved("d")}
    found = {(one.path, one.part): one.hides for one in masks(upper, FIRST)}
    assert found == {
        ("", Part.ENTRY): [""],
        ("d", Part.ENTRY): ["d", "d/a", "d/b"],
        ("passwd", Part.MARK): ["passwd"],
        ("e", Part.ENTRY): ["d"],
    }


def test_a_directory_that_was_removed_is_one_line_for_people() -> None:
    lines = folded(differences({"": DIR, "d": GONE, "passwd": file("x")}, FIRST, Allowed()))
    assert [(one.words(), more) for one, more in lines] == [
        ("removed  d/", 2),
        ("changed  passwd (content)", 0),
    ]
    assert Change(path="a", what="added", kind="file").words() == "added    a"


def test_a_state_says_what_it_did_when_it_is_read_again() -> None:
    state = State(image="1", manifest={"a": "b"}, made={"a": Made("b", {"a": "c"})}, begun={"d": Act.MERGE}, dropped=3)
    assert msgspec.json.decode(msgspec.json.encode(state), type=State) == state
    assert plain("a\udcff") == "a\\xff"
    assert fingerprint(file("1")) != fingerprint(file("1", 0o600))
    assert merged({}, FIRST) == FIRST


def test_news_are_told_once() -> None:
    assert [type(one) for one in news(Summary(), Told())[0]] == [Overlay]
    found = Summary(drift=12, drift_paths=first([f"p{n}" for n in range(12)]), drift_digest="a", newer=1,
                    newer_paths=["hosts"], newer_digest="b", dropped=[("1.tar", "passwd"), ("2.tar", "")],
                    problems=["conf is full"])  # fmt: skip
    out, told = news(found, Told())
    alerts = {one.code: one.text for one in out if isinstance(one, Alert)}
    assert list(alerts) == ["etc-drift", "etc-newer", "etc-dropped", "etc-overlay"]
    assert alerts["etc-drift"].endswith("p8, p9 and 2 more")
    assert alerts["etc-dropped"].endswith("passwd, .")
    assert news(found, told) == ([], told)
    more = msgspec.structs.replace(found, dropped=[("2.tar", ""), ("3.tar", "d")], memory=True)
    out, _ = news(more, told)
    assert [getattr(one, "text", "message") for one in out] == [
        "dropped for the image's newer files, and kept on keep: d",
        "message",
    ]
    assert digest([]) == ""
    assert len(first(["x" * 500])[0]) == 200


def test_a_verdict_with_much_behind_it_names_the_first() -> None:
    upper = {"": DIR, "d": GONE}
    lower = {**SECOND, "d/e": file("2"), "d/f": file("2")}
    verdict: Verdict = next(one for one in judge(upper, lower, after(upper), Allowed()) if one.act is Act.DROP)
    assert verdict.words() == "hid what the image has newer: d/a, d/c, d/e and 1 more"
