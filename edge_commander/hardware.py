"""`edge-commander hardware`: what the shipping list must say of this machine. Touches DMI, ident and the TPM.

For the person who ships it, so it runs before anything is enrolled or configured, and makes no keys.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from agents.contracts.ids import node_id
from agents.core.errors import ConfigError, GalleyError, Rejected
from agents.io import config
from agents.io.machine import open_machine
from edge_commander.keystore import ChosenKeyStore, no_tpm
from edge_commander.settings import CommanderSettings
from edge_commander.tpm.endorsement import endorsement_hash
from edge_commander.tpm.tools import Tpm


@dataclass(frozen=True)
class Hardware:
    """`keys`: where they are, or what is chosen when they are made. `ek_hash`: for `galley device ship --ek-hash`,
    empty where there is no TPM; `tpm`: then why."""

    hardware_id: str
    node: str
    hardware: str
    keys: str
    ek_hash: str
    tpm: str


def main(argv: Sequence[str]) -> int:
    """0: shown; 4: the hardware names itself nowhere; 78: configuration."""
    parser = argparse.ArgumentParser(prog="edge-commander hardware")
    parser.add_argument("--config", type=Path, metavar="FILE")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    options = parser.parse_args(argv)
    try:
        settings = config.load("edge_commander", CommanderSettings, options.config, needed=False)
        facts = open_machine(settings.node.machine, Path(settings.node.run_dir)).facts()
    except ConfigError as error:
        for problem in error.problems:
            print(f"edge-commander: {problem}", file=sys.stderr)
        return 78
    except Rejected as error:
        print(f"edge-commander: {error}", file=sys.stderr)
        return 4
    ek_hash, tpm = _ask_tpm(settings.own)
    found = Hardware(facts.hardware_id, node_id(facts.hardware_id), facts.hardware, _keys(settings.own), ek_hash, tpm)
    print(msgspec.json.encode(asdict(found)).decode() if options.output == "json" else as_text(found))
    return 0


def as_text(found: Hardware) -> str:
    """The same for people."""
    return "\n".join(
        [
            f"hardware id  {found.hardware_id}",
            f"node         {found.node}",
            f"hardware     {found.hardware}",
            f"keys         {found.keys}",
            f"ek hash      {found.ek_hash or 'none: ' + found.tpm}",
        ]
    )


def _keys(own: CommanderSettings) -> str:
    try:
        return ChosenKeyStore(own, lambda text: None).place().value
    except Rejected as error:
        return str(error)


def _ask_tpm(own: CommanderSettings) -> tuple[str, str]:
    """The hash, or why there is none."""
    if own.keys == "file":
        return "", "edge_commander.keys says file"
    tpm = Tpm(own.tcti)
    if why := no_tpm(tpm):
        return "", why
    try:
        return endorsement_hash(tpm, own.endorsement_key), ""
    except GalleyError as error:
        return "", str(error)
