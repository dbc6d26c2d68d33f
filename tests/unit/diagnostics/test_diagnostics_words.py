"""Secrets in words, on command lines, in pairs, in other quotes, under tags and comments go; real logs stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_commander.diagnostics.known import Known
from edge_commander.diagnostics.scrub import Scrubber

HERE = Path(__file__).parent
SECRET = "hunter2"
PREFIXES = ("", "Nov 26 04:43:24 nuc k3s[1]: ", "2026-11-26T04:43:24+0000 nuc-1 k3s[12]: ")


def scrubbed(text: str) -> str:
    scrubber = Scrubber(Known([]))
    return (scrubber.feed(text.encode()) + scrubber.finish()).decode()


def lines(name: str) -> list[str]:
    return (HERE / name).read_text().splitlines()


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_secret_in_one_line_goes(prefix: str) -> None:
    said = lines("lines_with_secrets.txt")
    assert len(said) > 100 and all(SECRET in line for line in said)
    left = [line for line in said if SECRET in scrubbed(prefix + line)]
    assert not left


@pytest.mark.parametrize("prefix", [PREFIXES[0], PREFIXES[2]])
def test_lines_of_kubelet_etcd_containerd_and_the_journal_stay_as_they_are(prefix: str) -> None:
    said = lines("lines_that_stay.txt")
    assert len(said) > 60
    lost = [(line, put) for line in said if (put := scrubbed(prefix + line)) != prefix + line + "\n"]
    assert not lost


@pytest.mark.parametrize(
    ("secret", "line"),
    [
        (
            "f8902e114ef118304e561c3ecd4d0b543adc226b7a07f675f56564185ffe0c07",
            "certificate key: f8902e114ef118304e561c3ecd4d0b543adc226b7a07f675f56564185ffe0c07",
        ),
        (
            "f8902e114ef118304e561c3ecd4d0b543adc226b7a07f675f56564185ffe0c07",
            "kubeadm join x --certificate-key f8902e114ef118304e561c3ecd4d0b543adc226b7a07f675f56564185ffe0c07",
        ),
        ("0123456789abcdef", "token abcdef.0123456789abcdef ok"),
        ("AKIAIOSFODNN7EXAMPLE", "id AKIAIOSFODNN7EXAMPLE x"),
        ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "x wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY y"),
        ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
        ("glpat-abcdefghij1234567890", "glpat-abcdefghij1234567890"),
        ("xoxb-123456789012-abcdefghijkl", "xoxb-123456789012-abcdefghijkl"),
        ("AIzaSyA1234567890abcdefghijklmnopqrstuv", "AIzaSyA1234567890abcdefghijklmnopqrstuv"),
        ("hvs.CAESIJabcdefghijklmnop", "hvs.CAESIJabcdefghijklmnop"),
        (
            "$6$abcdefgh$abcdefghijklmnopqrstuvwxyz0123",
            "root:$6$abcdefgh$abcdefghijklmnopqrstuvwxyz0123:19000:0:99999:7:::",
        ),
        ("$2b$12$abcdefghijklmnopqrstuv", "x $2b$12$abcdefghijklmnopqrstuv"),
        ("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJuIn0.c2ln", "jwt eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJuIn0.c2ln"),
        ("sk_live_abcdefghijklmnop1234", "sk_live_abcdefghijklmnop1234"),
        ("npm_abcdefghijklmnopqrstuvwxyz0123456789", "npm_abcdefghijklmnopqrstuvwxyz0123456789"),
        ("dckr_pat_abcdefghijklmnop", "dckr_pat_abcdefghijklmnop"),
    ],
)
def test_what_services_give_as_tokens_goes_by_its_looks(secret: str, line: str) -> None:
    assert secret in line and secret not in scrubbed(line)


@pytest.mark.parametrize(
    "text",
    [
        "password: |  # a comment\n  hunter2\nnext: x",
        "password: # a comment\n  hunter2\nnext: x",
        "password: !!str |\n  hunter2\nnext: x",
        "password: !!str\n  hunter2\nnext: x",
        "password: &anchor >-\n  hunter2\nnext: x",
        "password: !vault |\n  hunter2\nnext: x",
        "data: # x\n  a: hunter2\nnext: x",
        "data: !!map\n  a: hunter2\nnext: x",
        'password: "correct\n  hunter2"\nnext: x',
        "password: correct\n  hunter2\nnext: x",
        "? password\n: hunter2\nnext: x",
        "Using certificate key:\nhunter2\nnext: x",
        "[upload-certs] Using certificate key:\nf8902e114hunter2\nnext: x",
        "password:\nhunter2\nnext: x",
        "- name: DB_PASSWORD\n  value: hunter2\n- name: x",
        '    - name: DB_PASSWORD\n      value: "hunter2"\n- name: x',
        '{\n  "name": "DB_PASSWORD",\n  "value": "hunter2"\n}\nnext: x',
        "machine x\nlogin bob\npassword hunter2\nnext: x",
        "passwords:\n- hunter2\n- hunter2\nnext: x",
        '"password":\n  "hunter2",\nnext: x',
        "stringData:\n  a: |\n    hunter2\n  b: x\nnext: x",
        "The token is:\n\n    hunter2\nnext: x",
        "--token\nhunter2\nnext: x",
        "AwEHhunter2DQgAE\n-----END EC PRIVATE KEY-----\nnext: x",
        "AwEHhunter2DQgAE\\n-----END EC PRIVATE KEY-----\\n\nnext: x",
    ],
)
def test_a_value_on_another_line_than_its_name_goes_and_what_follows_stays(text: str) -> None:
    found = scrubbed(text)
    assert SECRET not in found and ("next: x" in found or "name: x" in found), found


def test_the_rest_of_a_key_whose_beginning_nobody_saw() -> None:
    end = "-----END EC PRIVATE KEY-----"
    for prefix in ("", "Nov 26 04:43:24 nuc k3s[1]: "):
        found = scrubbed(f"word\n{prefix}AwEHoUQDQgAE\n{prefix}{end}\nafter")
        assert "AwEHo" not in found and found.startswith("word\n") and found.endswith("after\n")
    assert scrubbed("AwEHoUQDQgAE\nno key ends here") == "AwEHoUQDQgAE\nno key ends here\n"


def test_a_word_that_says_that_there_is_none_is_left_only_where_it_is_the_whole_value() -> None:
    for line in ("automountServiceAccountToken: false", "token: null", '{"password":"","user":"bob"}'):
        assert scrubbed(line) == line + "\n"
    for line in ("password: none of hunter2", "password: true hunter2"):
        assert SECRET not in scrubbed(line)
