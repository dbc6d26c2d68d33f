"""What the documents name is there: links, make targets, commands with their flags, settings; tables are current."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from agents.core.settings import SECTIONS, build
from agents.io.yamlfile import parse
from cloud_endpoint.cli.__main__ import build_parser
from cloud_endpoint.local import COMMANDS
from tools import routes_table, settings_table

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
PLACES = ("/opt/galley/bin/", ".venv/bin/")
FILES = (".yaml", ".json", ".db", ".py", ".service", ".md")


def documents() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=30,
    ).stdout.decode()
    return sorted(ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file())


def blocks(text: str) -> list[str]:
    """Indented and fenced blocks, without their indentation."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"(?:(?<=\n\n)|(?<=\n))((?:    .*\n|\n(?=    ))+)", rest)
    return fenced + [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in found]


def programs() -> frozenset[str]:
    return frozenset(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"])


def calls(line: str, known: frozenset[str]) -> list[str]:
    """The words of a line from the project's program on; empty when it calls none."""
    words = shlex.split(line, comments=True, posix=line.count("'") % 2 == 0)
    for index, word in enumerate(words):
        if Path(word).name in known and (index == 0 or word.startswith(PLACES)):
            return [Path(word).name, *words[index + 1 :]]
    return []


def command_lines() -> list[list[str]]:
    """Every call of a program of the project in a block of a document."""
    lines = [
        line
        for document in documents()
        for block in blocks(document.read_text())
        for line in block.replace("\\\n", " ").splitlines()
        if "`" not in line and not line.lstrip().startswith(("#", '"', "("))
    ]
    return [words for line in lines if (words := calls(line, programs()))]


def spans() -> list[tuple[Path, str]]:
    return [(document, span) for document in documents() for span in SPAN.findall(document.read_text())]


def anchor(heading: str) -> str:
    """As Git servers make it of a heading."""
    plain = re.sub(r"[`*\[\]]", "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def test_every_link_leads_somewhere() -> None:
    wrong = []
    for document in documents():
        for pair in LINK.findall(SPAN.sub("", document.read_text())):
            target = pair[0] or pair[1]
            if target.startswith(("https://", "mailto:")):
                continue
            place, _, fragment = target.partition("#")
            file = (document.parent / place) if place else document
            if not file.exists():
                wrong.append(f"{document.name}: {target}")
            elif fragment and fragment not in map(anchor, re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)):
                wrong.append(f"{document.name}: {target}: no such heading")
    assert not wrong


def test_every_make_target_is_there() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {span.split()[1] for _, span in spans() if re.match(r"make [a-z]", span)}
    for document in documents():
        for block in blocks(document.read_text()):
            named |= set(re.findall(r"^make ([a-z0-9-]+)", block, re.MULTILINE))
    assert named and named - targets == set()


def test_every_line_of_galley_is_understood() -> None:
    lines = [words[1:] for words in command_lines() if words[0] == "galley"]
    assert len(lines) >= 5
    parser = build_parser()
    for words in lines:
        try:
            parser.parse_args(words)
        except SystemExit:
            pytest.fail(f"galley {' '.join(words)}")


def test_every_subcommand_and_flag_is_there() -> None:
    """Of the other programs: what is called, and which flags, by what their own help says."""
    wanted: dict[tuple[str, ...], set[str]] = {}
    for program, *rest in command_lines():
        if program == "galley":
            continue
        sub = [word for word in rest[:2] if re.fullmatch(r"[a-z-]+", word) and not word.startswith("-")]
        sub = sub[: 2 if program == "galley-endpoint" and sub[:1] == ["operator"] else 1]
        flags = {word.partition("=")[0] for word in rest if word.startswith("--") and len(word) > 2}
        wanted.setdefault((program, *sub), set()).update(flags)
    assert len(wanted) >= 5
    for (program, *sub), flags in wanted.items():
        done = subprocess.run([BIN / program, *sub, "--help"], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, f"{program} {' '.join(sub)}: {done.stderr}"
        assert done.stdout.startswith(f"usage: {' '.join([program, *sub])} "), f"{program} has no {' '.join(sub)}"
        assert flags - set(re.findall(r"--[a-z-]+", done.stdout)) == set(), f"{program} {' '.join(sub)}"


def test_every_subcommand_named_in_the_text_is_there() -> None:
    """A span such as `vessel lint DIR`."""
    known = {
        "galley": _galley_words(),
        "galley-endpoint": set(COMMANDS),
        "vessel": {"bootstrap", "status", "lint", "render"},
        "edge-commander": {"status", "hardware", "wipe", "overlay", "diagnostics", "stick"},
    }
    named = [(document, span.split()) for document, span in spans() if "|" not in span]
    calling = [(d, w) for d, w in named if w[0] in known and len(w) > 1 and not w[1].startswith("-")]
    assert len(calling) > 10
    assert not [f"{d.name}: {' '.join(w)}" for d, w in calling if w[1] not in known[w[0]]]


def _galley_words() -> set[str]:
    found: set[str] = set()
    for action in build_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= set(action.choices)
    return found


def test_every_setting_named_is_there() -> None:
    keys = {key for name, struct in settings_table.SECTIONS.items() for key in settings_table.keys(struct, f"{name}.")}
    wrong = []
    seen = 0
    for document, span in spans():
        found = re.fullmatch(rf"((?:{'|'.join(SECTIONS)})(?:\.[a-z_]+)+)(?:: .*)?", span)
        if found is None or found[1].endswith(FILES):
            continue
        seen += 1
        if found[1] not in keys:
            wrong.append(f"{document.name}: {span}")
    assert seen > 20
    assert not wrong


def test_every_configuration_shown_is_a_good_one() -> None:
    shown = [
        (document.name, block[block.index("v: 1\n") :])
        for document in documents()
        for block in blocks(document.read_text())
        if re.search(r"^v: 1\n(?=\w+:\n|\w+: \{)", block, re.MULTILINE)
    ]
    assert len(shown) >= 3
    for name, block in shown:
        text = re.split(r"^(?:END|EOF|\S*vessel --config.*|galley-.*)$", block, flags=re.MULTILINE)[0]
        document: Any = parse(text, name)
        for section in set(document) & set(settings_table.SECTIONS) - {"node", "endpoint"}:
            build([(name, document)], {}, section, settings_table.SECTIONS[section])


def test_the_tables_are_current() -> None:
    for module, name in ((settings_table, "settings"), (routes_table, "routes")):
        file = ROOT / "docs" / f"{name}.md"
        assert file.read_text() == module.render(), f"write it anew: python -m tools.{name}_table > docs/{name}.md"
