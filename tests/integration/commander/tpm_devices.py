"""Devices with a TPM that speak to a real endpoint step by step, as a commander does or as a liar would."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from agents.core.ports import MachineFacts
from edge_commander.attestation import enrol_request
from edge_commander.keys import DeviceKeys
from edge_commander.tpm.endorsement import EkKind, endorsement_hash
from edge_commander.tpm.keys import TpmKeyStore
from edge_commander.tpm.tools import Tpm
from tests.site_in_a_box.endpoint import EndpointClient
from tests.site_in_a_box.swtpm import Swtpm


def ek_hash(swtpm: Swtpm, kind: EkKind = "ecc") -> str:
    """What the shipping list says of this TPM."""
    return endorsement_hash(Tpm(swtpm.tcti), kind)


@dataclass
class Device:
    """Keys and a claimed hardware id; `client` is any client of the endpoint."""

    keys: DeviceKeys
    hardware_id: str
    client: EndpointClient

    async def ask(self, challenge: str = "", **changes: Any) -> tuple[int, dict[str, Any]]:
        """One request, with the challenge opened by this device's TPM; `changes` replace fields of it."""
        facts = MachineFacts(self.hardware_id, "s", "b", "kitchen", "NUC")
        issuer = self.client.endpoint.issuer
        request = enrol_request(self.keys, facts, issuer, now=int(time.time()), code="", challenge=challenge)
        body = {**msgspec.to_builtins(request), **changes}
        return await self.client.request("POST", "/v1/enrol", json=body)

    async def enrol(self) -> tuple[int, dict[str, Any]]:
        """Both requests."""
        status, body = await self.ask()
        assert (status, body["status"]) == (202, "challenge"), body
        return await self.ask(body["challenge"])


def device(folder: Path, swtpm: Swtpm, hardware_id: str, client: EndpointClient, kind: EkKind = "ecc") -> Device:
    """A device with new keys in `swtpm`."""
    folder.mkdir(parents=True)
    return Device(TpmKeyStore(folder, Tpm(swtpm.tcti), kind).create(), hardware_id, client)
