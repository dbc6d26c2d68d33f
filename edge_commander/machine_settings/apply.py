"""`python -m edge_commander.machine_settings.apply MEDIUM`: takes over what a person put beside the image, or
says all that is wrong with it and changes nothing of what is in force.

Run by galley-settings.service with the esp, and with a stick labelled GALLEY when one is plugged in. Writes below /etc,
runs the daemons' own checks, and says everything on the console. Exit 78: something is wrong.
"""

from __future__ import annotations

import argparse
import os
import pwd
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.core.errors import ConfigError, Rejected
from agents.core.settings import EndpointSettings, build_section
from agents.io.state import write_durably
from agents.io.yamlfile import parse
from edge_commander.machine_settings import files, medium
from edge_commander.machine_settings.files import reader_of
from edge_commander.machine_settings.settings import MachineSettings, problems
from edge_commander.shown import plain

ETC = Path("/etc")
NOTICES = Path("/run/galley-notices/settings")
DAEMONS = ("edge-commander", "heartbeat", "vessel", "synthetic-client")
CHECK_SECONDS = 120.0
UNITS = ["galley-edge-commander", "galley-heartbeat", "galley-vessel", "galley-synthetic-client", "galley-discovery"]


def main(argv: Sequence[str] | None = None) -> int:
    """See above."""
    parser = argparse.ArgumentParser(prog="galley-settings", description=__doc__)
    parser.add_argument("medium", type=Path, help="the folder where the medium is mounted")
    parser.add_argument("--name", default="the medium", help="what to call it")
    parser.add_argument("--esp", type=Path, help="where else to keep what was taken over: the esp, mounted")
    parser.add_argument("--restart", action="store_true", help="start the daemons anew with it")
    options = parser.parse_args(argv)
    found, wrong = medium.read(options.medium)
    if not found and not wrong:
        if not (ETC / "galley/galley.yaml").exists():
            _say(f"there is no galley.yaml on {options.name}: write one onto a stick labelled GALLEY (docs/image.md)")
        _notice([f"{options.name}: there is no galley.yaml on it"] if options.restart else [])
        return 0
    if not wrong and _in_force(found):
        _notice([])
        return 0
    made: Mapping[str, str] = {}
    if not wrong:
        made, wrong = _checked(found)
    if wrong:
        wrong = [plain(problem) for problem in wrong]
        for problem in wrong:
            _say(f"{options.name}: {problem}")
        _say(f"{options.name}: {len(wrong)} problems; nothing of it is taken over")
        _notice([f"{options.name}: {problem}" for problem in wrong])
        return 78
    _take_over(found, made)
    if options.esp is not None:
        _keep(options.esp, found)
    _notice([])
    _say(f"{options.name}: taken over ({', '.join(sorted(found))})")
    if options.restart:
        _run("systemctl", "restart", "--no-block", *UNITS)
    return 0


def _in_force(found: Mapping[str, bytes]) -> bool:
    try:
        return all((ETC / "galley" / name).read_bytes() == data for name, data in found.items())
    except OSError:
        return False


def _checked(found: Mapping[str, bytes]) -> tuple[Mapping[str, str], list[str]]:
    """The files that the machine's own settings become, and every problem of every section, each once."""
    try:
        document: Any = parse(found[medium.MAIN].decode(), medium.MAIN)
        machine = build_section([(medium.MAIN, document)], "machine", MachineSettings)
    except UnicodeDecodeError:
        return {}, [f"{medium.MAIN}: is no UTF-8 text"]
    except ConfigError as error:
        return {}, list(dict.fromkeys([*error.problems, *_daemons_say(found)]))
    except Rejected as error:
        return {}, [str(error)]
    return files.render(machine, _endpoint(document)), [*problems(machine), *_daemons_say(found)]


def _endpoint(document: Any) -> EndpointSettings | None:
    """None where there is none that is right: the daemons say what is wrong with it."""
    try:
        return build_section([(medium.MAIN, document)], "endpoint", EndpointSettings)
    except ConfigError:
        return None


def _daemons_say(found: Mapping[str, bytes]) -> list[str]:
    """Each daemon's own check of the whole, with the files that galley.yaml names where they will be."""
    place = Path("/run/galley-settings")
    place.mkdir(mode=0o700, exist_ok=True)
    _write(place, found)
    said: dict[str, None] = {}
    command = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount --bind "$1" /etc/galley && exec "/opt/galley/bin/$2" --check-config',
    ]
    for daemon in DAEMONS:
        done = subprocess.run(
            [*command, "check", str(place), daemon], capture_output=True, text=True, check=False, timeout=CHECK_SECONDS
        )
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).splitlines() or [f"its check ended with {done.returncode}"]
            said |= dict.fromkeys(line.removeprefix(f"{daemon}: ") for line in lines)
    return list(said)


def _take_over(found: Mapping[str, bytes], wanted: Mapping[str, str]) -> None:
    _write(ETC / "galley", found)
    changed = set()
    for name in files.OWN:
        file = ETC / name
        text = wanted.get(name)
        if text is None and file.exists():
            file.unlink()
            changed.add(name)
        elif text is not None and (not file.exists() or file.read_text() != text):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_durably(file, text.encode(), 0o644)
            changed.add(name)
    if files.PROXY in changed:
        _run("systemctl", "try-restart", "--no-block", "containerd.service")  # pods go on under their shims
    if changed - {files.PROXY}:
        _run("networkctl", "reload")
        _run("systemctl", "try-restart", "--no-block", "systemd-timesyncd.service")


def _write(folder: Path, found: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # galley.yaml last: what it names is there before.
    for name in sorted(found, key=lambda one: one == medium.MAIN):
        reader = reader_of(name)
        write_durably(folder / name, found[name], 0o644 if reader is None else 0o600)
        if reader is not None:
            owner = pwd.getpwnam(reader)
            os.chown(folder / name, owner.pw_uid, owner.pw_gid)


def _keep(esp: Path, found: Mapping[str, bytes]) -> None:
    """On the esp, where the next boot, and a wipe, look."""
    _run("mount", "-o", "remount,rw", str(esp))
    try:
        (esp / medium.FOLDER).mkdir(exist_ok=True)
        for name in sorted(found, key=lambda one: one == medium.MAIN):
            write_durably(esp / name if name == medium.MAIN else esp / medium.FOLDER / name, found[name], 0o600)
    finally:
        _run("mount", "-o", "remount,ro", str(esp))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        _say(f"{' '.join(command)}: {done.stderr.strip()[-200:]}")


def _notice(said: Sequence[str]) -> None:
    """Leaves it for the console to show, instead of what the last medium left there."""
    try:
        if not said:
            NOTICES.unlink(missing_ok=True)
            return
        NOTICES.parent.mkdir(mode=0o755, exist_ok=True)
        write_durably(NOTICES, "".join(f"{line}\n" for line in said).encode(), 0o644)
    except OSError as error:
        _say(f"{NOTICES}: cannot be written: {error.strerror}")


def _say(text: str) -> None:
    print(f"galley: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
