"""What is wrong with the files of a medium, in the words of a node's console; who runs the daemons' checks says how.

Starts the programs that it is given. On the node that is apply.py, at a desk desk.py.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from agents.core.errors import ConfigError, Rejected
from agents.core.settings import EndpointSettings, build_section, placed
from agents.io.yamlfile import lines_of, parse
from edge_commander.machine_settings import files, medium, named
from edge_commander.machine_settings.settings import MachineSettings, problems
from edge_commander.shown import plain

DAEMONS = {
    "edge-commander": "galley-commander",
    "heartbeat": "galley-heartbeat",
    "vessel": "galley-vessel",
    "synthetic-client": "galley-synthetic",
}
"""The command of each, and its user and group."""
MAX_LINES = 100
MAX_LINE = 500
CHECK_SECONDS = 120.0


def bounded(problems: Sequence[str]) -> list[str]:
    """As a console shows them: what a stick has in its names does not command it. Pure."""
    lines = [plain(problem)[:MAX_LINE] for problem in problems]
    left = len(lines) - MAX_LINES
    return lines if left <= 0 else [*lines[:MAX_LINES], f"and {left} more"]


def checked(
    found: Mapping[str, bytes],
    daemons_say: Callable[[Mapping[str, bytes]], list[str]],
    top: Collection[str] = (),
) -> tuple[Mapping[str, str], list[str]]:
    """The files that the machine's own settings become, and every problem of every section, each once. `found`: as
    medium.read gives it, with galley.yaml; `daemons_say`: each daemon's own check of the whole; `top`: what is at the
    medium's top, where a file that is missing may be."""
    try:
        text = found[medium.MAIN].decode()
        whole: Any = parse(text, medium.MAIN)
    except UnicodeDecodeError:
        return {}, [f"{medium.MAIN}: is no UTF-8 text"]
    except Rejected as error:
        return {}, [str(error)]
    made: Mapping[str, str] = {}
    try:
        machine = build_section([(medium.MAIN, whole)], "machine", MachineSettings)
        wrong, made = problems(machine), files.render(machine, _endpoint(whole))
    except ConfigError as error:
        wrong = error.problems
    lines = lines_of(text) if wrong else {}
    wrong = [placed(one, [(medium.MAIN, whole)], {}, lambda _: lines) for one in wrong]
    # The medium's own files are called as they are there, and not as they will be on the node.
    at = f"{named.ETC}{medium.MAIN}:"
    said = [one.removeprefix(named.ETC) if one.startswith(at) else one for one in daemons_say(found)]
    wrong += [*named.exposed(found), *(named.told(one, found, top) for one in said)]
    return made, list(dict.fromkeys(wrong))


def document(found: Mapping[str, bytes]) -> Any:
    """What galley.yaml holds; None where it cannot be read, which `checked` says."""
    try:
        return parse(found[medium.MAIN].decode(), medium.MAIN)
    except (UnicodeDecodeError, Rejected):
        return None


def _endpoint(whole: Any) -> EndpointSettings | None:
    """None where there is none that is right: the daemons say what is wrong with it."""
    try:
        return build_section([(medium.MAIN, whole)], "endpoint", EndpointSettings)
    except ConfigError:
        return None


def daemon_says(daemon: str, command: Sequence[str], **more: Any) -> list[str]:
    """The problems that one daemon's check prints; `more`: for subprocess.run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=CHECK_SECONDS, **more)
    except subprocess.TimeoutExpired:
        return [f"{daemon}: its check did not end within {CHECK_SECONDS:.0f} s"]
    if done.returncode == 0:
        return []
    lines = (done.stderr or done.stdout).splitlines() or [f"its check ended with {done.returncode}"]
    return [line.removeprefix(f"{daemon}: ") for line in lines]
