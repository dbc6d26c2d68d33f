"""`python -m edge_commander.machine_settings.apply MEDIUM`: takes over what a person put beside the image, or
says all that is wrong with it and changes nothing of what is in force.

Run by galley-settings.service with the esp, and with a stick labelled GALLEY when one is plugged in. Writes below /etc,
runs the daemons' own checks, and says everything on the console. Exit 78: something is wrong.
"""

from __future__ import annotations

import argparse
import errno
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from agents.io.state import write_durably
from edge_commander.machine_settings import files, medium
from edge_commander.machine_settings.files import reader_of
from edge_commander.machine_settings.judge import DAEMONS, bounded, checked, daemon_says

ETC = Path("/etc")
NOTICES = Path("/run/galley-notices/settings")
CHECKED = Path("/run/galley-settings")
CHECK = (
    'mount --bind "$1" /etc/galley && '
    'exec setpriv --reuid="$3" --regid="$3" --init-groups "/opt/galley/bin/$2" --check-config'
)
SPARE_BYTES = 1024 * 1024
"""What whole blocks, folders and drafts may take on the esp besides."""
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
    esp: Path | None = options.esp
    if not found and not wrong:
        if not (ETC / "galley/galley.yaml").exists():
            _say(f"there is no galley.yaml on {options.name}: write one onto a stick labelled GALLEY (docs/image.md)")
        hint = medium.instead(options.medium)
        missing = f"{options.name}: there is no galley.yaml {'at its top' if hint else 'on it'}{hint}"
        _notice([missing] if options.restart or hint else [])
        return 0
    if not wrong and _in_force(found) and (esp is None or _kept(esp, found)):
        _notice([])
        return 0
    made: Mapping[str, str] = {}
    if not wrong:
        made, wrong = checked(found, _daemons_say, medium.top(options.medium))
    end = "nothing of it is taken over"
    if not wrong:
        wrong, end = _taken_over(found, made, esp), "it is not in force"
    if wrong:
        told = [f"{options.name}: {problem}" for problem in bounded(wrong)]
        for line in told:
            _say(line)
        _say(f"{options.name}: {len(wrong)} problems; {end}")
        _notice(told)
        return 78
    _notice([])
    _say(f"{options.name}: taken over ({', '.join(sorted(found))})")
    if options.restart:
        _run("systemctl", "restart", "--no-block", *UNITS)
    return 0


def _in_force(found: Mapping[str, bytes]) -> bool:
    return _same({ETC / "galley" / name: data for name, data in found.items()})


def _kept(esp: Path, found: Mapping[str, bytes]) -> bool:
    return _same({_on(esp, name): data for name, data in found.items()})


def _same(files: Mapping[Path, bytes]) -> bool:
    try:
        return all(file.read_bytes() == data for file, data in files.items())
    except OSError:
        return False


def _on(esp: Path, name: str) -> Path:
    return esp / name if name == medium.MAIN else esp / medium.FOLDER / name


def _daemons_say(found: Mapping[str, bytes]) -> list[str]:
    """Each daemon's own check of the whole, with the files that galley.yaml names where they will be.

    As the daemon's own user: what it may not read is no file of its settings, and its content is nobody's to be told.
    """
    shutil.rmtree(CHECKED, ignore_errors=True)  # of an earlier medium: what is missing on this one must be missed
    CHECKED.mkdir()
    try:
        CHECKED.chmod(0o755)
        _write(CHECKED, found)
        said: dict[str, None] = {}
        for daemon, user in DAEMONS.items():
            command = ["unshare", "--mount", "sh", "-c", CHECK, "check", str(CHECKED), daemon, user]
            said |= dict.fromkeys(daemon_says(daemon, command))
        return list(said)
    finally:
        shutil.rmtree(CHECKED, ignore_errors=True)


def _taken_over(found: Mapping[str, bytes], made: Mapping[str, str], esp: Path | None) -> list[str]:
    """Kept first, then put into force: each start takes over what the esp has, so a cut anywhere ends in the new ones.
    What could not be written."""
    try:
        if esp is not None:
            _keep(esp, found)
        _take_over(found, made)
    except OSError as error:
        return [f"cannot be written: {error.filename or 'the esp'}: {error.strerror}"]
    return []


def _take_over(found: Mapping[str, bytes], wanted: Mapping[str, str]) -> None:
    """galley.yaml last: as long as it is the old one, the next start does all this again."""
    _write(ETC / "galley", {name: data for name, data in found.items() if name != medium.MAIN})
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
    _write(ETC / "galley", {medium.MAIN: found[medium.MAIN]})
    if files.PROXY in changed:
        _run("systemctl", "try-restart", "--no-block", "containerd.service")  # pods go on under their shims
    if changed - {files.PROXY}:
        _run("networkctl", "reload")
        _run("systemctl", "try-restart", "--no-block", "systemd-timesyncd.service")


def _write(folder: Path, found: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(found):
        if (reader := reader_of(name)) is None:
            write_durably(folder / name, found[name], 0o644)
        else:
            user = pwd.getpwnam(reader)
            write_durably(folder / name, found[name], 0o600, owner=(user.pw_uid, user.pw_gid))


def _keep(esp: Path, found: Mapping[str, bytes]) -> None:
    """On the esp, where the next boot, and a wipe, look; galley.yaml last: what it names is there before. Raises
    OSError, before anything is changed where there is no room."""
    free = os.statvfs(esp)
    if free.f_bavail * free.f_frsize < sum(map(len, found.values())) + SPARE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(esp))
    # Where a boot on trial has it mounted for writing, this is the same mount: to end that would end the trial badly.
    fixed = bool(free.f_flag & os.ST_RDONLY)
    if fixed:
        _run("mount", "-o", "remount,rw", str(esp))
    try:
        (esp / medium.FOLDER).mkdir(exist_ok=True)
        for name in sorted(found, key=lambda one: one == medium.MAIN):
            write_durably(_on(esp, name), found[name], 0o600)
        # What other sticks brought is named by nothing any more; too many of them, and the esp itself would be refused.
        own = {name.casefold() for name in found}
        for file in [one for one in (esp / medium.FOLDER).iterdir() if one.name.casefold() not in own]:
            if file.is_file() and not file.name.startswith("."):
                file.unlink()
    finally:
        if fixed:
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
        NOTICES.parent.mkdir(exist_ok=True)
        NOTICES.parent.chmod(0o755)  # who shows it is another user, and the unit's umask lets nobody in
        write_durably(NOTICES, "".join(f"{line}\n" for line in said).encode(), 0o644)
    except OSError as error:
        _say(f"{NOTICES}: cannot be written: {error.strerror}")


def _say(text: str) -> None:
    print(f"galley: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
