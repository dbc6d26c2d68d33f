"""Documents of one file: splitting, duplicates, bounds, places."""

from __future__ import annotations

from typing import Any

import pytest

from vessel.reading.documents import Bounds, DocumentError, read_documents


def values(text: str) -> list[Any]:
    return [document.value for document in read_documents(text.encode())]


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "key 'a' stands twice (first in line 1)"),
        ("1: a\n'1': b\n", 2, "key '1' stands twice"),
        ("x: 1\n---\n# c\non: a\ntrue: b\n", 5, "key 'true' stands twice (first in line 4)"),
        ('{\n"a": {"b": 1,\n"b": 2}}', 3, "key 'b' stands twice (first in line 2)"),
        ("x: &x {}\ny:\n  <<: *x\n  <<: *x\n", 4, "key '<<' stands twice"),
        ("a: [\n", 2, "is not valid YAML"),
        ("a: 1\n---\nb:\n\t- c\n", 4, "is not valid YAML"),
        ("a: \x01\n", 1, "control characters"),
        ("a: 1\n--- b\n", 2, "only a comment may follow"),
        ("a: 1\n...\nb: 2\n", 3, "is not valid YAML"),
        ("a: *b\n", 1, "names no anchor"),
        ("a: &a [*a]\n", 1, "contains itself"),
        ("a: !mine b\n", 1, "has a tag (a value that begins with '!')"),
        ("a: !mine {}\n", 1, "has a tag (a value that begins with '!')"),
        ("a: .nan\n", 1, "NaN and infinity"),
        ("~: a\n", 1, "a key must not be null"),
        ("? [a]\n: b\n", 1, "cannot be a key"),
        ("<<: 1\n", 1, "'<<' takes a mapping"),
        ("<<: [[]]\n", 1, "'<<' takes a mapping"),
        ('{"a": NaN}', 1, "NaN is not JSON"),
        ('{"a": "\\ud800"}', 1, "surrogate"),
        ('{"a": 1,\n"b": }}', 2, "is not valid"),
        ('{"a":' * 5000, 1, "nested too deeply"),
    ],
)  # fmt: skip
def test_refused(text: str, line: int, cause: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read_documents(text.encode())
    assert cause in str(caught.value)
    assert caught.value.line == line


@pytest.mark.parametrize(
    "text",
    [
        "p: *hunter2\n",
        "p: &hunter2 [*hunter2]\n",
        "p: !hunter2 x\n",
        "p: !hunter2 {}\n",
        "p: !<hunter2> x\n",
        "hunter2!: 1\nhunter2!: 2\n",
        '{"hunter2!": 1, "hunter2!": 2}',
        "p: hunter2: b\n",
        "p: !!binary hunter2\n",
        "p: !!int hunter2\n",
        "p: 'hunter2\n",
        "p: !hunter2!x y\n",
        "p: @hunter2\n",
        "p: %hunter2\n",
        "p: `hunter2\n",
        '{"p": "hunter2}',
    ],
)
def test_a_password_without_its_quotes_is_not_repeated(text: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read_documents(text.encode())
    assert "hunter2" not in str(caught.value)


def test_not_utf8() -> None:
    with pytest.raises(DocumentError, match="is not UTF-8") as caught:
        read_documents(b"a: 1\nb: \xff\n")
    assert caught.value.line == 2


def test_documents_and_their_lines() -> None:
    found = read_documents(b"# c\n\na: 1\n---\n---\n# only this\n--- # here\n\nb:\n  c: [x, {d: 1}]\n---")
    assert [(d.value, d.line) for d in found] == [({"a": 1}, 3), ({"b": {"c": ["x", {"d": 1}]}}, 9)]
    assert found[1].line_of("b", "c") == 10
    assert found[1].line_of("b", "c", 1, "d", "no", "such") == 10
    assert found[1].line_of("nothing") == 9


def test_line_ends_and_bom() -> None:
    assert values("\ufeffa: |\r\n  x\r\n  y") == [{"a": "x\ny\n"}]
    assert values("") == values("\n  \n# c\n") == values("---\n~\n---\n") == []


def test_json_streams() -> None:
    assert values('{"a": 1.0}\n{"b": "\\ud83d\\ude00"}\n---\nc: on\n') == [{"a": 1}, {"b": "😀"}, {"c": True}]
    assert values("{a: on, b: [1_0]}") == [{"a": True, "b": [10]}]


def test_merges_take_effect_where_they_stand() -> None:
    assert values("x: &x {a: 1}\nafter: {<<: *x, a: 2}\nbefore: {a: 2, <<: *x}\n")[0] == {
        "x": {"a": 1}, "after": {"a": 2}, "before": {"a": 1}
    }  # fmt: skip
    assert values("x: &x {a: 1}\ny: &y {a: 2, b: 3}\nz: {<<: [*x, *y]}\n")[0]["z"] == {"a": 1, "b": 3}


def test_aliases_share_nothing() -> None:
    [value] = values("a: &a {b: [1]}\nc: *a\n")
    value["a"]["b"].append(2)
    assert value["c"] == {"b": [1]}


def bomb(levels: int, width: int = 9) -> bytes:
    lines = ["a0: &a0 [lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines).encode()


def test_a_bomb() -> None:
    with pytest.raises(DocumentError, match="aliases expand to more than"):
        read_documents(bomb(60))
    assert read_documents(bomb(5))
    text = "a: &a " + "x" * 100_000 + "\nb: [" + "*a," * 1000 + "]\n"
    with pytest.raises(DocumentError, match="aliases expand to more than"):
        read_documents(text.encode())


def test_merge_bomb() -> None:
    lines = ["a0: &a0 {k: v}"] + [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], k{n}: *a{n - 1}}}" for n in range(1, 80)]
    with pytest.raises(DocumentError, match=r"aliases expand|nested deeper"):
        read_documents("\n".join(lines).encode())


@pytest.mark.parametrize("text", ["[" * 101 + "]" * 101, "{a: " * 101 + "}" * 101, '{"a":' * 101 + "1" + "}" * 101])
def test_depth(text: str) -> None:
    with pytest.raises(DocumentError, match="nested deeper than 100"):
        read_documents(text.encode())
    shorter = text.replace("[]", "", 1).replace("{a: }", "", 1).replace('{"a":1}', "1", 1)
    assert read_documents(shorter.encode())


def test_depth_by_aliases() -> None:
    text = "a: &a " + "[" * 60 + "]" * 60 + "\nb: " + "[" * 50 + "*a" + "]" * 50 + "\n"
    with pytest.raises(DocumentError, match="nested deeper than 100"):
        read_documents(text.encode())


def test_size_over_all_documents() -> None:
    with pytest.raises(DocumentError, match="expands to more than 100"):
        read_documents(b"a: 12345678901234567890\n---\n" * 6, Bounds(size=100))
