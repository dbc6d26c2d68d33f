"""One NUC in QEMU that lives: what is left on its partitions, the order that wipes it, what of it must stay the same.

`Life(shop, machine, site)`; its machine is booted by whoever uses it. All methods block.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from edge_commander.wipe.record import Phase, WipeRecord
from tests.site_in_a_box.nuc import Nuc
from tests.site_in_a_box.nuc_disk import RawDisk
from tests.site_in_a_box.nuc_shop import ENROL_SECONDS, Shop, wait
from tests.site_in_a_box.tree_print import Entry

LINES = 2000
NEEDLE = b"paid with card"
SECRET = "customer %06d paid with card 4929\\n"
ETC_FILE, VAR_FILE = "/etc/secret", "/var/lib/secret"
IDENT, KEEP = "/var/lib/galley-ident", "/var/lib/galley-keep"
KEPT_FILE = f"{KEEP}/by-a-person"
UNITS = ("edge-commander", "heartbeat", "vessel", "synthetic-client", "discovery", "console", "lan-page")
KEYS = f"cat {IDENT}/*keys.json | sha256sum; cat {KEPT_FILE}"


class Life:
    """`machine`: with the stick and a blank disk. `site`: which it was shipped to."""

    def __init__(self, shop: Shop, machine: Nuc, site: str) -> None:
        self.shop = shop
        self.machine = machine
        self.site = site
        self.disk = RawDisk(machine.disks[-1])
        self.keys = ""
        self._looks = 0

    def take_stick_out(self) -> None:
        """The next start is from the disk."""
        self.machine.disks = self.machine.disks[-1:]

    def wait_enrolled(self) -> dict[str, Any]:
        """Until the endpoint knows it; the node as it does."""
        wait(lambda: self.shop.enrolled(self.machine.serial, self.site), "enrolled", self.machine)
        return self.node

    def wait_units(self) -> None:
        """Until every daemon says that it is ready, and nothing is to be started any more."""
        units = " ".join(f"galley-{unit}" for unit in UNITS)

        def up() -> bool:
            said = self.machine.run(
                f"systemctl is-active {units}; systemctl list-jobs --no-legend | wc -l", check=False
            )
            return said.split() == ["active"] * len(UNITS) + ["0"]

        wait(up, "every unit is up", self.machine, ENROL_SECONDS)

    @property
    def node(self) -> dict[str, Any]:
        """As the endpoint knows it."""
        found = self.shop.node(self.machine.serial, self.site)
        assert found is not None, self.machine.serial
        return found

    def leave_things(self) -> None:
        """What a life leaves: secrets on `conf` and `var`, and something of a person's on `keep`."""
        write = f"seq 1 {LINES} | xargs printf '{SECRET}'"
        self.machine.run(
            f"{write} > {ETC_FILE}; {write} > {VAR_FILE}; echo kept > {KEPT_FILE}; sync; "
            f"test $(wc -l < {VAR_FILE}) = {LINES}"
        )
        self.keys = self.machine.run(KEYS)

    def secrets_left(self) -> dict[str, int]:
        """Lines of them on the raw partitions."""
        return {label: self.disk.count(label, NEEDLE) for label in ("conf", "var")}

    def kept(self) -> dict[str, dict[str, Entry]]:
        """What `ident` and `keep` hold; the machine is off. Copies of /etc's changed files are early boot's own."""
        self._looks += 1
        found = {}
        for label in ("ident", "keep"):
            folder = self.machine.folder / f"look-{self._looks}-{label}"
            files = self.disk.files(label, folder)
            found[label] = {name: one for name, one in files.items() if not name.startswith("etc-overlay")}
            shutil.rmtree(folder)
        return found

    def order_wipe(self, file: Path) -> int:
        """An operator's signed wipe of `var` and `conf`, sent; its sequence. Alone in its site, it is a rebuild."""
        node, desk = str(self.node["node"]), self.shop.desk
        wait(lambda: self.shop.cloud(f"/v1/nodes/{node}/next-command")["challenge"], "a challenge", self.machine)
        targets = ("--target", "var", "--target", "conf", "--arg", "rebuild=yes")
        desk.galley("command", "sign", "wipe", node, *targets, "--key", desk.key, "--yes", "-o", file)
        desk.galley("command", "send", file)
        return int(self._wipes()[0]["sequence"])

    def answers(self) -> list[tuple[int, str, str]]:
        """Of each wipe that it was told: sequence, outcome and detail; empty ones while it was not answered."""
        return [(int(one["sequence"]), one["outcome"] or "", one["detail"] or "") for one in self._wipes()]

    def _wipes(self) -> list[dict[str, Any]]:
        found = self.shop.cloud(f"/v1/nodes/{self.node['node']}/commands")
        return [one for one in found if one["verb"] == "wipe"]

    def wait_answered(self) -> None:
        """Until the endpoint has the answer, and the node knows that it has."""
        wait(lambda: all(outcome for _, outcome, _ in self.answers()), "answered", self.machine)
        wait(lambda: self.record.reported, "the journal knows that it is answered", self.machine)

    def times_said(self) -> int:
        """How often this boot's commander answered a command."""
        said = self.machine.run("journalctl -b -u galley-edge-commander -o cat --no-pager")
        lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        return sum(line.get("event") == "command answered" for line in lines)

    @property
    def record(self) -> WipeRecord:
        """The journal's."""
        found = self.disk.record
        assert found is not None
        return found

    def erased(self) -> bool:
        """Whether the journal says that it is over, and well."""
        return self.record.phase is Phase.DONE

    def is_as_from_the_factory(self) -> None:
        """Nothing is left of what was erased; what is kept, and the keys, are as they were. Asserts."""
        run = self.machine.run
        assert self.erased(), self.record
        assert self.secrets_left() == {"conf": 0, "var": 0}
        assert run(f"ls {ETC_FILE} {VAR_FILE} 2>/dev/null", check=False).strip() == ""
        assert run(KEYS) == self.keys
        assert not run("systemctl --failed --no-legend --plain").strip()
        assert not run("cat /run/galley-early/problems 2>/dev/null", check=False).strip()
