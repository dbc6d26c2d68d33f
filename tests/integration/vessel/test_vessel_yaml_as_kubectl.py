# ruff: noqa: E501, SIM905 - the corpus reads best as it is
"""Vessel reads YAML as kubectl does: the same files through both, the same JSON out, the same ones refused.

The peer is `kubectl create --dry-run=client -o json --validate=false` of the site's own version. One call reads a
folder of files; what it cannot read it names, and it goes on with the others.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from agents.contracts.messages import Problem
from tests.site_in_a_box.kube_site import KubeSite
from vessel.reading.documents import DocumentError, read_documents
from vessel.reading.objects import manifests_of

HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: NAME\ndata:\n"

SCALARS = """
22:22 on On ON off y Y n N yes no true True tRue false ~ null Null NULL nULL 1e3 1E3 1e+3 1e-3 1_000 1__0 _1 1_
0 00 0777 0o777 0O17 0o8 08 0778 -017 +017 0x1F 0X1f -0x1f +0x1f 0x 0x_1 0b101 0B101 -0b101 0b2 0b-1 0b+1 -0b-1 0b
+1 -1 +-1 + - .5 -.5 +.5 5. . .. .e3 .5e3 .5e999 1.0 1.5e10 1e21 1e20 1e400 -1e400 1e-400 0.1 -0.0 -0 +0
2001-01-01 2001-1-1 2001-01-01T00:00:00Z 2001-12-14t21:59:43.10-05:00 12:30:45 190:20:30 1:2.5
9007199254740993 9223372036854775807 9223372036854775808 -9223372036854775808 -9223372036854775809
18446744073709551615 18446744073709551616 +18446744073709551615 0xFFFFFFFFFFFFFFFF 0x1FFFFFFFFFFFFFFFF
07777777777777777777777777 1234567890123456768.0 123456789012345678e1 1.2345678901234567e18 99999999999999999999
<< = % @a a:b a#b a,b [] {} [1,2] {a:1} {a: 1} .nan .inf -.inf .Inf +.INF .NaN .NAN NaN inf Infinity -Infinity
'on' "on" '' "" !!str~ 1.2.3 v1 1.10 1,000 0.0.0.0/0 10m 1Gi 0x1p3 1p3 é 日本 ٣ 1e 1e+ e3 0e0 00.5 1._5 ._5 1_.5
""".split()

TEXTS = [
    "  a: !!str 1\n  b: !!int '3'\n  c: !!float 1\n  d: !!bool yes\n  e: !!null ''\n  f: !!binary aGVsbG8=\n",
    "  a: ! 1\n  b: ! 'x'\n", "  a: !!int x\n", "  a: !!float x\n", "  a: !!bool 1\n", "  a: !!null x\n", "  a: !!binary '*'\n",
    "  a: !!timestamp 2001-01-01\n", "  a: !!timestamp x\n", "  a: !!float 18446744073709551615\n", "  a: !!int 2001-01-01\n",
    "  x: &x {a: 1, b: 2}\n  y: {<<: *x, b: 3}\n  z: {b: 3, <<: *x}\n",
    "  x: &x {a: 1, b: 2}\n  y: &y {b: 5, c: 6}\n  z: {<<: [*x, *y], d: 1}\n  w: {d: 1, <<: [*y, *x, {d: 9}]}\n",
    "  x: &x [1]\n  y: {<<: *x}\n", "  y: {<<: 1}\n", "  y: {<<: null}\n", "  y: {<<: [1]}\n", "  y: {<<: [[{a: 1}]]}\n",
    "  y: {'<<': 1}\n", "  y: {\"<<\": {a: 1}}\n", "  x: &x {<<: {q: 1}, r: 2}\n  y: {<<: *x, r: 3}\n",
    "  a: &a [1, {b: 2}]\n  c: *a\n  d: [*a, *a]\n", "  a: &a 1\n  b: &a 2\n  c: *a\n", "  a: *nope\n", "  a: &a [*a]\n", "  a: &a {b: *a}\n",
    "  &k key: 1\n  b: *k\n", "  a: &v text\n  *v : 1\n",
    "  1: a\n  1.5: b\n  on: c\n  1e3: d\n  0x10: e\n  2001-01-01: f\n", "  1e10: a\n  1e-7: b\n  0.1: c\n  123456.7: d\n  1234567.8: e\n  1e300: f\n",
    "  .inf: a\n  -.inf: b\n", "  16777217.0: a\n  -0.0: b\n  3.14159265358979: c\n  100000.0: d\n  1000000.0: e\n  0.0001: f\n  0.00001: g\n",
    "  ~: a\n", "  18446744073709551615: a\n", "  ? [a]\n  : b\n", "  ? {a: 1}\n  : b\n", "  ? a\n  : b\n  ? c\n", "  : a\n",
    "  a: |\n    x\n     y\n\n    z\n", "  a: |-\n    x\n\n", "  a: |+\n    x\n\n", "  a: >\n    x\n    y\n\n    z\n", "  a: |2\n      x\n", "  a: |\n    x",
    "  a: >-\n    x\n      y\n    z\n", "  a: 'it''s'\n  b: \"\\u00e9\\n\\x41\\U0001F600\"\n", "  a: \"x\n    y\n\n    z\"\n", "  a: x\n    y\n    z\n",
    "  a:\n  - b\n  - - c\n    - d\n  -\n    e: f\n", "  a: [b, c: d, {e: f}]\n", "  a: {b, c: , 'd'}\n", "  a: b # c\n  d: e#f\n  # g\n",
    "  a:\tb\n", "\ta: b\n", "  a: b\t\n", "  a: [b\n", "  a: 'b\n", "  a: b: c\n", "  a: @b\n", "  a: `b\n", "  a: %b\n", "  - a\n", "  a: - b\n",
    "  a: b\n c: d\n", "  a: b\n   c: d\n", "  a: \"\\z\"\n", "  a: \x01\n", "  a: \x7f\n", "  a: \x85b\n", "  a: \u2028b\n", "  a: \ufeffb\n", "  a: \U0001f600\n",
    "  a: {x: http://y, z: [http://a,b]}\n", "  a: {x:y}\n", "  a: {\"x\":y}\n", "  a: [a:b, ?c, -d]\n", "  ?a: b\n", "  -a: b\n", "  a: -\n", "  a: ?\n",
    "  a: !foo\n", "  a: !!set {b, c}\n", "  a: !!map {b: c}\n", "  a: !!seq [b]\n", "  a: !!str\n", "  a: !!str ~\n", "  a: &a\n  b: *a\n",
    "...\n", "...\nx: y\n", "  a: b\n...\n# end\n", "--- a\n", "---\n", "---\n---\n# only a comment\n---\n", "--- # comment\n", "---x\n",
]  # fmt: skip

WHOLE = {
    "bom": b"\xef\xbb\xbf" + HEAD.replace("NAME", "bom").encode() + b"  a: b\n",
    "crlf": HEAD.replace("NAME", "crlf").replace("\n", "\r\n").encode() + b"  a: |\r\n    x\r\n    y\r\n",
    "cr": HEAD.replace("NAME", "cr").replace("\n", "\r").encode() + b"  a: b\r",
    "latin": HEAD.replace("NAME", "latin").encode() + b"  a: caf\xe9\n",
    "utf16": ("\ufeff" + HEAD.replace("NAME", "utf16")).encode("utf-16-le"),
    "empty": b"",
    "comments": b"# nothing\n\n# here\n",
    "spaces": b"  \n\n",
    "nulls": b"---\nnull\n---\n~\n---\n",
    "scalar": b"hello\n",
    "sequence": b"- a\n- b\n",
    "directive": b"%YAML 1.1\n---\n" + HEAD.replace("NAME", "directive").encode(),
    "documents": b"\n---\n".join(HEAD.replace("NAME", f"documents-{n}").encode() + b"  a: b" for n in range(3)),
    "list": json.dumps(
        {"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"list-{n}"}} for n in range(2)]}
    ).encode(),
    "typedlist": b"apiVersion: v1\nkind: ConfigMapList\nitems:\n- metadata: {name: typedlist-1}\n  data: {a: on}\n"
    b"- {apiVersion: v1, kind: ConfigMap, metadata: {name: typedlist-2}}\n",
    "emptylist": b"apiVersion: v1\nkind: ConfigMapList\nitems: []\n",
    "json": b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"json"},"data":{"a":1.0,"b":1e3,"c":9007199254740993,'
    b'"d":"\\ud83d\\ude00\\/","e":18446744073709551615,"f":1e-7,"g":-0.0,"h":0.1,"i":null,"j":1e25}}',
    "jsons": b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"jsons-1"}}\n'
    b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"jsons-2"}}\n',
    "jsonyaml": b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"jsonyaml-1"}}\n---\n'
    + HEAD.replace("NAME", "jsonyaml-2").encode() + b"  a: on\n",
    "flow": b"{apiVersion: v1, kind: ConfigMap, metadata: {name: flow}, data: {a: on}}\n",
    "jsontabs": b'{\t"apiVersion":\t"v1",\n\t"kind": "ConfigMap", "metadata": {"name": "jsontabs"}}\n',
    "jsonbad": b'{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "jsonbad"},}}\n',
    "deepjson": b'{"a":' * 20000 + b"1" + b"}" * 20000,
}  # fmt: skip

STRICTER = (
    "is not supported",  # a tag of one's own: kubectl takes it for a text
    "did not find expected <document start>",  # what follows a line of three dots, or a whole value, is dropped there
    "is not valid JSON",
    "is not UTF-8 text",  # there every wrong byte becomes U+FFFD
)
"""Causes for which Vessel refuses what kubectl takes."""


def ours(data: bytes) -> dict[str, Any] | str:
    """Names and bodies as Vessel reads them, or why it refuses the file."""
    problems: list[Problem] = []
    try:
        manifests = manifests_of(read_documents(data), "f", problems.append)
    except DocumentError as error:
        return str(error)
    return problems[0].cause if problems else {manifest.ref.name: manifest.body for manifest in manifests}


class Kubectl:
    """Reads a folder of files in one call."""

    def __init__(self, site: KubeSite, program: Path, folder: Path) -> None:
        self.site, self.program, self.folder = site, program, folder

    def read(self, files: dict[str, bytes]) -> dict[str, Any]:
        """All objects by name. What stands in a file that kubectl refuses is not among them."""
        self.folder.mkdir(exist_ok=True)
        for old in self.folder.iterdir():
            old.unlink()
        for name, data in files.items():
            (self.folder / f"{name}.yaml").write_bytes(data)
        command = [str(self.program), "--kubeconfig", str(self.site.kubeconfig), "create", "--dry-run=client"]
        arguments = ["-o", "json", "--validate=false", "-f", str(self.folder)]
        done = subprocess.run([*command, *arguments], capture_output=True, timeout=240)
        out = done.stdout.decode()
        found: dict[str, Any] = {}
        decoder, position = json.JSONDecoder(), 0
        while (position := out.find("{", position)) >= 0:
            value, position = decoder.raw_decode(out, position)
            for item in value["items"] if value["kind"] == "List" else [value]:
                found[item["metadata"]["name"]] = item
        return found


@pytest.fixture
def kubectl(kube_site: KubeSite, kube_binaries: Path, tmp_path: Path) -> Kubectl:
    return Kubectl(kube_site, kube_binaries / "kubectl", tmp_path / "files")


def number(text: str) -> int | float:
    """An integer past 64 bits is a float there, written without exponent."""
    value = int(text)
    return value if -(2**63) <= value < 2**63 else float(value)


def normal(body: Any) -> Any:
    """What kubectl adds on its way is taken off: namespace, and the null timestamp."""
    metadata = {k: v for k, v in body["metadata"].items() if k not in ("namespace", "creationTimestamp")}
    return json.loads(json.dumps({**body, "metadata": metadata}), parse_int=number)


def compare(kubectl: Kubectl, files: dict[str, bytes]) -> tuple[int, list[str]]:
    """How many objects kubectl read, and where the two differ. A file's objects are named as it, or `name-...`."""
    theirs = kubectl.read(files)
    wrong = []
    for name, data in files.items():
        mine = ours(data)
        if isinstance(mine, str):
            taken = any(key == name or key.startswith(f"{name}-") for key in theirs)
            if taken and not any(cause in mine for cause in STRICTER):
                wrong.append(f"{name}: {data!r}: we refuse it ({mine}), kubectl does not")
            continue
        for key, body in mine.items():
            if key not in theirs:
                wrong.append(f"{name}: {data!r}: kubectl refuses it, we do not: {body}")
            elif normal(body) != normal(theirs[key]):
                wrong.append(f"{name}: {data!r}:\n  ours   {body}\n  theirs {theirs.get(key)}")
    return len(theirs), wrong


def of(texts: list[str]) -> dict[str, bytes]:
    return {f"t{n}": (HEAD.replace("NAME", f"t{n}") + text).encode() for n, text in enumerate(texts)}


def agree(found: tuple[int, list[str]], at_least: int) -> None:
    count, wrong = found
    assert not wrong, "\n".join(wrong)
    assert count >= at_least  # so many were read by both


def test_scalars(kubectl: Kubectl) -> None:
    texts = [f"  a: {text}\n" for text in SCALARS] + [f"  {text}: a\n" for text in SCALARS]
    agree(compare(kubectl, of(texts)), 200)


def test_constructs(kubectl: Kubectl) -> None:
    agree(compare(kubectl, of(TEXTS)), 50)


def test_whole_files(kubectl: Kubectl) -> None:
    agree(compare(kubectl, WHOLE), 15)


_PLAIN = st.one_of(
    st.text("0123456789+-._eExXoObB:aAfFiInNyYtT ~", min_size=1, max_size=12),
    st.floats().map(repr),
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda f: f"{f:.3e}"),
    st.text(st.characters(codec="utf-8"), max_size=6),
    st.text("{}[],&*#?|-<>=!%@`'\":\\ \t\nab1", max_size=8),
)


@pytest.mark.timeout(280)
def test_what_hypothesis_thinks_of(kubectl: Kubectl) -> None:
    """Some thousand values and keys, as one folder a round: a call of kubectl costs more than all it reads."""

    drawn: list[tuple[str, bool]] = []

    @settings(max_examples=2000, deadline=None, database=None, phases=[Phase.generate], derandomize=True)
    @given(_PLAIN, st.booleans())
    def draw(text: str, key: bool) -> None:
        drawn.append((text, key))

    draw()
    agree(compare(kubectl, of([f"  {text}: a\n" if key else f"  a: {text}\n" for text, key in drawn])), 1000)


def test_duplicate_keys_are_refused_where_kubectl_takes_the_last(kubectl: Kubectl) -> None:
    texts = [
        "  a: 1\n  a: 2\n",
        "  1: a\n  '1': b\n",
        "  on: a\n  true: b\n",
        "  a: {b: 1, b: 2}\n",
        "  0x1: a\n  1: b\n",
    ]
    files = of(texts)
    assert set(kubectl.read(files)) == set(files)
    assert all("stands twice (first in line" in str(ours(data)) for data in files.values())
