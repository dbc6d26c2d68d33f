"""Looks at the node as any bystander may: its configuration, the commander's answer, notices, hardware. Touches those.

Level-triggered: each look reads all of it anew, but for a configuration whose files have not changed. Blocking.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.contracts.ids import node_id
from agents.core.errors import ConfigError, Rejected
from agents.core.os_release import parse
from agents.core.settings import NodeSettings, Settings
from agents.io import config
from agents.io.machine import open_machine
from agents.io.own_version import own_version
from edge_commander.console.addresses import lan
from edge_commander.console.ask import ask
from edge_commander.console.view import Seen
from edge_commander.settings import CommanderSettings

CHECK_SECONDS = 60.0
"""How long the daemon's own check may take."""
CHECK_AGAIN_SECONDS = 30.0
"""How long the commander must be silent before its check is asked, and then how often: one that starts is to have the
processor, and files that the configuration names may come late."""
EARLY = Path("/run/galley-early/problems")
"""A line each: what early boot could not do (images/nuc)."""
MEDIUM = Path("/run/galley-notices/settings")
"""A line each: what was wrong with the last stick, or the esp (machine_settings)."""
OS_RELEASE = Path("/etc/os-release")
IMAGE_ID = "galley-nuc"
"""What the NUC image calls itself there (images/nuc)."""
MAX_NOTICES = 8192
MAX_TABLE = 1024 * 1024


@dataclass(frozen=True)
class Config:
    """`settings` None: there are none that can be used, and `problems` says why, each with its path; `missing`: there
    is no file yet."""

    settings: Settings[CommanderSettings] | None
    problems: tuple[str, ...] = ()
    missing: bool = False


def read_config(path: Path | None, root: Path = config.ROOT) -> Config:
    """Of the commander, with every problem of what can be judged without the files that it names."""
    try:
        return Config(config.load("edge_commander", CommanderSettings, path, root=root))
    except ConfigError as error:
        return Config(None, tuple(error.problems), missing=not (path or root / "galley.yaml").exists())


def socket_of(settings: Settings[CommanderSettings] | None) -> Path:
    """Where the commander is asked; where it is by default, without settings: it may run by earlier ones."""
    if settings is None:
        return Path(NodeSettings().run_dir) / "identity.sock"
    return Path(settings.own.socket or Path(settings.node.run_dir) / "identity.sock")


def daemon_says(path: Path | None) -> tuple[str, ...]:
    """What the commander's own check has against this configuration: also the files that it names. In a process of its
    own, as it needs more memory than whoever looks is to have."""
    command = [sys.executable, "-I", "-m", "edge_commander", "--check-config"]
    try:
        done = subprocess.run(
            [*command, *(["--config", str(path)] if path is not None else [])],
            capture_output=True, text=True, check=False, timeout=CHECK_SECONDS, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ()
    if done.returncode != os.EX_CONFIG:
        return ()
    # What this user may not read, the commander may.
    denied = os.strerror(errno.EACCES)
    lines = [line.removeprefix("edge-commander: ") for line in done.stderr.splitlines() if line.strip()]
    return tuple(line for line in lines if denied not in line)


def notices(file: Path) -> tuple[str, ...]:
    """Lines of a file of notices, bounded; none where there is none. One that cannot be read is a notice too."""
    try:
        with file.open("rb") as stream:
            found = stream.read(MAX_NOTICES).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ()
    except OSError as error:
        return (f"{file}: cannot be read: {error.strerror}",)
    return tuple(line.strip() for line in found if line.strip())


def network(root: Path = Path("/")) -> tuple[tuple[str, ...], bool | None]:
    """(Addresses on the LAN, whether a cable is plugged in; None where no wired interface tells)."""
    proc = root / "proc/net"
    found = lan(*(_text(proc / name) for name in ("route", "fib_trie", "if_inet6")))
    states = [_text(one / "carrier").strip() for one in sorted((root / "sys/class/net").glob("*")) if _is_wired(one)]
    known = [one for one in states if one]
    return found, "1" in known if known else None


def _is_wired(interface: Path) -> bool:
    """One that is hardware, and no radio."""
    return (interface / "device").exists() and not (interface / "wireless").exists()


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_TABLE).decode(errors="replace")
    except OSError:  # also an interface that is down: its carrier is not known
        return ""


class Look:
    """`path`: of `--config`. The rest is for tests. Called, it returns what is seen now."""

    def __init__(
        self,
        path: Path | None = None,
        *,
        root: Path = config.ROOT,
        noticed: Callable[[Path], Sequence[str]] = notices,
        net: Callable[[], tuple[Sequence[str], bool | None]] = network,
        check: Callable[[Path | None], tuple[str, ...]] = daemon_says,
        os_release: Path = OS_RELEASE,
        monotonic: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 10**6,
    ) -> None:
        self._path, self._root, self._noticed, self._net, self._check = path, root, noticed, net, check
        self._monotonic, self._now_ms = monotonic, now_ms
        self._version = own_version()
        self._image = parse(_text(os_release)).get("IMAGE_ID") == IMAGE_ID
        self._config = Config(None)
        self._mark: object = None
        self._silent: float | None = None
        self._checked: tuple[float, tuple[str, ...]] | None = None

    def __call__(self) -> Seen:
        """All of it, anew."""
        found = self.config()
        document = ask(socket_of(found.settings))
        if document is not None:
            self._silent = self._checked = None
        node, serial = self._hardware(found.settings)
        addresses, cable = self._net()
        return Seen(
            document=document,
            now_ms=self._now_ms(),
            config=str(self._path or self._root / "galley.yaml"),
            version=self._version,
            missing=found.missing,
            problems=found.problems or (self._daemon_says() if document is None else ()),
            early=tuple(self._noticed(EARLY)),
            medium=tuple(self._noticed(MEDIUM)),
            node=node,
            serial=serial,
            addresses=addresses,
            cable=cable,
            image=self._image,
        )

    def config(self) -> Config:
        """The configuration, read anew where a file of it has changed."""
        mark = self._signature()
        if mark != self._mark:
            self._mark, self._checked, self._config = mark, None, read_config(self._path, self._root)
        return self._config

    def _signature(self) -> object:
        """Changes with any file of the configuration; without a stat each look would parse them all."""
        if self._path is not None:
            return _stat(self._path)
        drop_ins = self._root / "galley.d"
        try:
            files = sorted(one for one in drop_ins.iterdir() if one.suffix == ".yaml")
        except OSError:
            files = []
        return [(str(one), _stat(one)) for one in (self._root / "galley.yaml", drop_ins, *files)]

    def _daemon_says(self) -> tuple[str, ...]:
        now = self._monotonic()
        self._silent = now if self._silent is None else self._silent
        last = self._silent if self._checked is None else self._checked[0]
        if now - last >= CHECK_AGAIN_SECONDS:
            self._checked = (now, self._check(self._path))
        return self._checked[1] if self._checked is not None else ()

    def _hardware(self, settings: Settings[CommanderSettings] | None) -> tuple[str, str]:
        """Node id and serial number, as far as the hardware tells them to this user."""
        node = settings.node if settings is not None else NodeSettings()
        try:
            facts = open_machine(node.machine, Path(node.run_dir)).facts()
        except Rejected:
            return "", ""
        return node_id(facts.hardware_id), facts.serial or facts.hardware_id


def _stat(file: Path) -> object:
    try:
        found = file.stat()
    except OSError as error:
        return error.errno
    return (found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode)
