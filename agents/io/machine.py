"""The facts of the host: from the kernel's DMI tables and boot id, or from a file that plays a machine.

DMI serial and UUID may be read by root alone; `<run_dir>/machine.json`, which the node's privileged start-up
writes, serves the other users in the same form as a file machine.
"""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec

from agents.core.errors import Rejected
from agents.core.ports import Machine, MachineFacts

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
    """This host. `root` is prepended to every path; `handed` is the file left for unprivileged users."""

    def __init__(self, root: Path = Path("/"), handed: Path | None = None) -> None:
        self._root = root
        self._handed = handed

    def facts(self) -> MachineFacts:
        """Reads the facts anew; raises Rejected naming what was tried when the hardware names itself nowhere."""
        dmi = self._root / "sys/class/dmi/id"
        tried: list[str] = []
        found: dict[str, str] = {}
        sources = {
            "serial": dmi / "product_serial",
            "uuid": dmi / "product_uuid",
            "board": dmi / "board_serial",
            "tree": self._root / "sys/firmware/devicetree/base/serial-number",
        }
        for name, path in sources.items():
            text, why = _read(path)
            if is_identity(text):
                found[name] = text
            else:
                tried.append(f"{path} ({why or 'a placeholder'})")
        if not found:
            if self._handed is not None and self._handed.exists():
                return FileMachine(self._handed).facts()
            raise Rejected(
                "the hardware names itself nowhere; tried "
                + ", ".join(tried)
                + (f", {self._handed}" if self._handed else "")
            )
        boot_id, why = _read(self._root / "proc/sys/kernel/random/boot_id")
        if not boot_id:
            raise Rejected(
                f"the boot id cannot be read: {why}", file=str(self._root / "proc/sys/kernel/random/boot_id")
            )
        vendor, product = _read(dmi / "sys_vendor")[0], _read(dmi / "product_name")[0]
        return MachineFacts(
            hardware_id=next(found[name] for name in sources if name in found),
            serial=found.get("serial", ""),
            boot_id=boot_id,
            hostname=socket.gethostname(),
            hardware=" ".join(part for part in (vendor, product) if part) or "unknown",
        )


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
        return HostMachine(handed=run_dir / "machine.json" if run_dir is not None else None)
    if setting.startswith("file:") and len(setting) > 5:
        return FileMachine(Path(setting.removeprefix("file:")))
    raise Rejected("must be `host` or `file:<path>`", path="node.machine")


def _read(path: Path) -> tuple[str, str]:
    try:
        return path.read_bytes()[:4096].decode(errors="replace").strip("\0 \t\r\n"), ""
    except OSError as error:
        return "", error.strerror or type(error).__name__
