"""The facts of the host: from the kernel's DMI tables and boot id, or from a file that plays a machine.

DMI serial and UUID may be read by root alone. The units get them as credentials, which systemd reads before it
drops privileges (systemd.exec(5), LoadCredential=); pods, for which nobody does, from `<run_dir>/machine.json`,
which the commander leaves there by `hand_over`. Where the process is root's it reads the tables itself.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import msgspec

from agents.core.errors import Rejected, Retryable
from agents.core.ports import Machine, MachineFacts
from agents.io.state import write_durably

HANDED_NAME = "machine.json"
PLACEHOLDERS = frozenset(
    """
    none|null|unknown|n/a|na|not specified|not applicable|not available|default string|default|system serial number
    to be filled by o.e.m.|to be filled by o.e.m|serial number|empty|invalid|oem|o.e.m.|xxxxxxxxxx|123456789|1234567890
    03000200-0400-0500-0006-000700080009|12345678-1234-5678-90ab-cddeefaabbcc
    """.strip()
    .replace("\n", "|")
    .replace("  ", "")
    .split("|")
)
"""What vendors leave in DMI fields that they did not fill."""
MAX_FILE = 64 * 1024


def is_identity(text: str) -> bool:
    """False for an empty text, a vendor's placeholder, or one repeated character."""
    plain = text.strip().lower()
    return bool(plain) and plain not in PLACEHOLDERS and len(set(plain.replace("-", "").replace(" ", ""))) > 1


class HostMachine:
    """This host. `root` is prepended to every path; `credentials`: systemd's directory for this process;
    `handed`: the file left for those who have neither privilege nor credential.

    A source that is there but may not be read ends the search: a lower one would give the node a second name.
    """

    def __init__(self, root: Path = Path("/"), handed: Path | None = None, credentials: Path | None = None) -> None:
        self._root = root
        self._handed = handed
        self._credentials = credentials

    def facts(self) -> MachineFacts:
        """Reads the facts anew; raises Rejected naming what was tried when the hardware names itself nowhere."""
        dmi = self._root / "sys/class/dmi/id"
        boot_file = self._root / "proc/sys/kernel/random/boot_id"
        boot_id, why = _read(boot_file)
        if not boot_id:
            raise Rejected(f"the boot id cannot be read: {why}", file=str(boot_file))
        hardware_id, serial = self._names(dmi)
        vendor, product = _read(dmi / "sys_vendor")[0], _read(dmi / "product_name")[0]
        return MachineFacts(
            hardware_id=hardware_id,
            serial=serial,
            boot_id=boot_id,
            hostname=socket.gethostname(),
            hardware=" ".join(part for part in (vendor, product) if part) or "unknown",
        )

    def _names(self, dmi: Path) -> tuple[str, str]:
        """What the hardware is called for life, and its serial number (empty where it has none)."""
        tried: list[str] = []
        found: dict[str, str] = {}
        for path in (
            dmi / "product_serial",
            dmi / "product_uuid",
            dmi / "board_serial",
            self._root / "sys/firmware/devicetree/base/serial-number",
        ):
            text, why, locked = self._privileged(path)
            if is_identity(text):
                found[path.name] = text
            else:
                tried.append(f"{path} ({why or 'a placeholder'})")
            if locked:
                break
        if found:
            return next(iter(found.values())), found.get("product_serial", "")
        if self._handed is not None and self._handed.exists():
            handed = FileMachine(self._handed).facts()
            return handed.hardware_id, handed.serial
        where = [*tried, f"{self._handed} (not there)"] if self._handed else tried
        raise Rejected(f"the hardware names itself nowhere; tried {', '.join(where)}")

    def _privileged(self, path: Path) -> tuple[str, str, bool]:
        """Text, why there is none, and whether it is there for others' eyes alone."""
        try:
            return _clean(path.read_bytes()), "", False
        except PermissionError as error:
            credential = self._credentials / path.name if self._credentials else None
            if credential is not None and credential.exists():
                return *_read(credential), False
            return "", error.strerror or "not permitted", True
        except OSError as error:
            return "", error.strerror or type(error).__name__, False


def hand_over(facts: MachineFacts, run_dir: Path) -> None:
    """Leaves the facts for the node's pods, mode 0644. Raises Retryable naming the file."""
    path = run_dir / HANDED_NAME
    try:
        run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_durably(path, msgspec.json.encode(facts))
        path.chmod(0o644)
    except OSError as error:
        raise Retryable(f"{path}: cannot be written: {error.strerror}") from None


class FileMachine:
    """A file that plays the host: JSON with the fields of MachineFacts; read anew each time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def facts(self) -> MachineFacts:
        """Reads the file; raises Rejected naming file and field."""
        try:
            with self._path.open("rb") as stream:
                data = stream.read(MAX_FILE)
        except OSError as error:
            raise Rejected(f"cannot be read: {error.strerror}", file=str(self._path)) from None
        try:
            facts = msgspec.json.decode(data, type=MachineFacts)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Rejected(f"is not a machine: {error}", file=str(self._path)) from None
        if not is_identity(facts.hardware_id) or not facts.boot_id.strip():
            raise Rejected("hardware_id and boot_id must name something", file=str(self._path))
        return facts


def open_machine(setting: str, run_dir: Path | None = None) -> Machine:
    """`host`, or `file:<path>`; raises Rejected for anything else. Reads nothing yet."""
    if setting == "host":
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        return HostMachine(
            handed=run_dir / HANDED_NAME if run_dir is not None else None,
            credentials=Path(credentials) if credentials else None,
        )
    if setting.startswith("file:") and len(setting) > 5:
        return FileMachine(Path(setting.removeprefix("file:")))
    raise Rejected("must be `host` or `file:<path>`", path="node.machine")


def _read(path: Path) -> tuple[str, str]:
    try:
        return _clean(path.read_bytes()), ""
    except OSError as error:
        return "", error.strerror or type(error).__name__


def _clean(data: bytes) -> str:
    return data[:4096].decode(errors="replace").strip("\0 \t\r\n")
