"""The node's loop with keys that answer as slowly and as badly as a TPM may, and a cloud that wants its proof."""

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from test_commander_node_loop import Bench

from agents.contracts.identity import Role
from agents.contracts.messages import NodeState
from agents.core.errors import Rejected
from agents.core.jose import encode64
from edge_commander.attestation import Evidence
from edge_commander.keys import FileDeviceKeys, FileKeyStore, KeysUnavailable
from edge_commander.reasons import Reason, Why


class SlowTpm:
    """Keys of a file that pass for a TPM's. `trouble` is raised by whatever the TPM does; `thread`: who asked it."""

    def __init__(self, keys: FileDeviceKeys) -> None:
        self.keys, self.trouble = keys, None
        self.threads: set[int] = set()
        self.opened: list[bytes] = []
        self.sealing, self.attester, self.agree, self.public = keys.sealing, self, keys.agree, keys.signer.public

    @property
    def signer(self) -> "SlowTpm":
        return self

    def works(self) -> None:
        self.threads.add(threading.get_ident())
        if self.trouble is not None:
            raise self.trouble

    def sign(self, message: bytes) -> bytes:
        self.works()
        return self.keys.signer.sign(message)

    def evidence(self) -> Evidence:
        self.works()
        return Evidence(b"ek", b"public")

    def open(self, credential: bytes) -> bytes:
        self.works()
        self.opened.append(credential)
        return b"secret"


async def with_tpm(bench: Bench) -> SlowTpm:
    tpm = SlowTpm(FileKeyStore(bench.directory).create())
    bench.loop.parts = replace(bench.loop.parts, keys=TpmStore(tpm))
    return tpm


class TpmStore:
    def __init__(self, tpm: SlowTpm) -> None:
        self.tpm = tpm

    def load(self) -> SlowTpm:
        self.tpm.works()
        return self.tpm

    create = load


async def test_a_challenge_is_opened_and_answered_and_the_tpm_never_asked_in_the_loop(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    tpm = await with_tpm(bench)
    bench.cloud.challenges = [encode64(b"credential")]
    await bench.ready()
    first, second = bench.cloud.requests
    assert (first.ek, first.key_public, first.challenge_answer) == (encode64(b"ek"), encode64(b"public"), "")
    assert (second.challenge_answer, tpm.opened) == (encode64(b"secret"), [b"credential"])
    await bench.tokens.get(Role.VESSEL)
    assert tpm.threads and threading.get_ident() not in tpm.threads


async def test_a_challenge_that_comes_again_is_waited_out(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    tpm = await with_tpm(bench)
    bench.cloud.challenges = [encode64(b"one"), encode64(b"two"), encode64(b"three")]
    assert 18.0 <= await bench.turn() <= 22.0
    assert bench.memory.record.reason.why is Why.TPM and tpm.opened == [b"one"]
    await bench.turn(4)
    assert bench.state == (NodeState.READY, "") and tpm.opened == [b"one", b"three"]


@pytest.mark.parametrize(
    ("trouble", "why"),
    [(KeysUnavailable("the TPM hangs"), Why.TPM), (Rejected("cleared"), Why.KEYS)],
)
async def test_a_tpm_that_does_not_work_is_said_and_waited_for(tmp_path: Path, trouble: Exception, why: Why) -> None:
    bench = Bench(tmp_path)
    tpm = await with_tpm(bench)
    tpm.trouble = trouble
    await bench.turn(2)
    assert bench.memory.record.reason == Reason(why, str(trouble)) and bench.cloud.requests == []
    tpm.trouble = None
    await bench.ready()


@pytest.mark.parametrize("trouble", [KeysUnavailable("the TPM hangs"), Rejected("other TPM")])
async def test_a_tpm_that_fails_while_it_enrols_is_said(tmp_path: Path, trouble: Exception) -> None:
    bench = Bench(tmp_path)
    tpm = await with_tpm(bench)
    await asyncio.to_thread(bench.loop.parts.keys.load)
    bench.loop._keys = tpm  # loaded before it failed
    tpm.trouble = trouble
    await bench.turn(2)
    assert bench.memory.record.state is NodeState.ENROLLING
    assert bench.memory.record.reason.why is (Why.TPM if isinstance(trouble, KeysUnavailable) else Why.REFUSED)
