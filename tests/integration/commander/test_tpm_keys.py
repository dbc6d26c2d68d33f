"""Keys in a TPM (swtpm): over power cycles, in another machine, after a clear, with one that hangs; killed half-way."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from agents.core.errors import Rejected
from agents.core.jose import SoftwareKey, decode64
from edge_commander.epoch import FileEpochFloor, RolledBack, check_not_older
from edge_commander.keys import KeysDamaged, KeysUnavailable, works
from edge_commander.keystore import ChosenKeyStore, Place
from edge_commander.settings import CommanderSettings
from edge_commander.tpm.epoch import INDEX, MAX_STEP
from edge_commander.tpm.keys import KEYS_NAME, TpmDeviceKeys, TpmKeyStore
from edge_commander.tpm.tools import Tpm
from tests.site_in_a_box.swtpm import Swtpm

PEER = SoftwareKey.generate().public


def store(folder: Path, swtpm: Swtpm, seconds: float = 15.0) -> TpmKeyStore:
    folder.mkdir(exist_ok=True)
    return TpmKeyStore(folder, Tpm(swtpm.tcti, seconds=seconds))


def test_after_a_power_cycle_the_same_keys_work_in_a_new_process_and_in_the_old_one(
    tmp_path: Path, swtpm: Swtpm
) -> None:
    keys = store(tmp_path, swtpm).create()
    shared = keys.agree(PEER)
    swtpm.restart()
    assert works(keys.signer) and keys.agree(PEER) == shared  # the saved contexts died with the power
    again = store(tmp_path, swtpm).load()
    assert again is not None and again.signer.public == keys.signer.public
    assert again.agree(PEER) == shared and works(again.signer)


def test_a_cleared_tpm_is_said_and_nothing_is_made_anew(tmp_path: Path, swtpm: Swtpm) -> None:
    keys = store(tmp_path, swtpm).create()
    ek = keys.attester.evidence().ek if keys.attester else b""
    before = (tmp_path / KEYS_NAME).read_bytes()
    swtpm.clear()
    for _ in range(2):
        with pytest.raises(KeysDamaged, match="cleared, or the disk comes from another machine"):
            store(tmp_path, swtpm).load()
        with pytest.raises(KeysDamaged):
            store(tmp_path, swtpm).create()
    with pytest.raises(Rejected):
        keys.signer.sign(b"x")
    with pytest.raises(Rejected, match="epoch counter is gone"):
        keys.floor.read()
    assert (tmp_path / KEYS_NAME).read_bytes() == before
    new = store(tmp_path / "new", swtpm).create()
    assert new.attester is not None and new.attester.evidence().ek == ek  # it is still that machine


def test_a_disk_in_another_machine_is_refused_and_works_again_at_home(
    tmp_path: Path, swtpm: Swtpm, other_swtpm: Swtpm
) -> None:
    keys = store(tmp_path, swtpm).create()
    with pytest.raises(KeysDamaged, match="another machine"):
        store(tmp_path, other_swtpm).load()
    with pytest.raises(KeysDamaged):
        store(tmp_path, other_swtpm).create()
    again = store(tmp_path, swtpm).load()
    assert again is not None and again.signer.public == keys.signer.public


def test_keys_swapped_between_two_records_are_refused(tmp_path: Path, swtpm: Swtpm, other_swtpm: Swtpm) -> None:
    """The public part of one key with the private part of another: the TPM refuses the pair."""
    one, two = store(tmp_path / "one", swtpm), store(tmp_path / "two", other_swtpm)
    one.create()
    two.create()
    shutil.copy(two.path, one.path)
    with pytest.raises(KeysDamaged):
        store(tmp_path / "one", swtpm).load()


def test_a_tpm_that_is_away_is_waited_for(tmp_path: Path, swtpm: Swtpm) -> None:
    keys = store(tmp_path, swtpm).create()
    swtpm.stop()
    with pytest.raises(KeysUnavailable):
        store(tmp_path, swtpm).load()
    with pytest.raises(KeysUnavailable):
        keys.signer.sign(b"x")
    swtpm.start()
    assert works(keys.signer)
    assert store(tmp_path, swtpm).load() is not None


def test_a_tpm_that_hangs_is_given_up_in_time(tmp_path: Path, swtpm: Swtpm) -> None:
    store(tmp_path, swtpm).create()
    keys = store(tmp_path, swtpm, seconds=3.0).load()
    assert keys is not None
    swtpm.pause(True)
    try:
        began = time.monotonic()
        with pytest.raises(KeysUnavailable, match="within 3 s"):
            keys.signer.sign(b"x")
        assert time.monotonic() - began < 12
    finally:
        swtpm.pause(False)
    assert works(keys.signer)


def test_many_threads_at_once(tmp_path: Path, swtpm: Swtpm) -> None:
    keys = store(tmp_path, swtpm).create()
    shared, failed = keys.agree(PEER), []

    def work(n: int) -> None:
        try:
            assert works(keys.signer) if n % 2 else keys.agree(PEER) == shared
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_the_private_parts_never_leave_the_tpm_in_the_clear(tmp_path: Path, swtpm: Swtpm) -> None:
    """Of both keys the file holds no number whose public key is theirs (at any offset)."""
    from cryptography.hazmat.primitives.asymmetric import ec

    store(tmp_path, swtpm).create()
    record = TpmKeyStore(tmp_path, Tpm(swtpm.tcti))._file.load()
    assert record is not None
    keys = store(tmp_path, swtpm).load()
    assert keys is not None
    publics = {int.from_bytes(decode64(key["x"]), "big") for key in (keys.signer.public, keys.sealing)}
    for blob in (record.signing, record.sealing):
        for at in range(len(blob.private) - 31):
            number = int.from_bytes(blob.private[at : at + 32], "big")
            if 0 < number < 2**255:
                assert ec.derive_private_key(number, ec.SECP256R1()).public_key().public_numbers().x not in publics


def test_killed_while_they_are_made_both_are_there_or_neither(tmp_path: Path, swtpm: Swtpm) -> None:
    script = Path(__file__).with_name("make_tpm_keys.py")
    seen = {"both": 0, "neither": 0}
    for n in range(14):
        folder = tmp_path / str(n)
        folder.mkdir()
        command = [sys.executable, script, folder, swtpm.tcti]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
        assert process.stdout is not None and process.stdout.readline() == "begins\n"
        try:
            process.wait(0.03 + n * 0.1)
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()
        process.stdout.close()
        found = store(folder, swtpm).load()
        seen["both" if found else "neither"] += 1
        keys = found or store(folder, swtpm).create()
        assert works(keys.signer) and len(keys.agree(PEER)) == 32
        assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == [KEYS_NAME]
    assert seen["neither"] >= 1, seen


def test_an_older_ident_put_back_is_known_by_the_tpm_and_not_by_a_file(tmp_path: Path, swtpm: Swtpm) -> None:
    ident = tmp_path / "ident"
    keys = store(ident, swtpm).create()
    for floor in (keys.floor, FileEpochFloor(ident)):
        floor.raise_to(1)
    shutil.copytree(ident, tmp_path / "old")
    for floor in (keys.floor, FileEpochFloor(ident)):
        floor.raise_to(3)
    shutil.rmtree(ident)
    shutil.copytree(tmp_path / "old", ident)
    swtpm.restart()
    back = store(ident, swtpm).load()
    assert back is not None
    with pytest.raises(RolledBack):
        check_not_older(1, back.floor.read())
    check_not_older(1, FileEpochFloor(ident).read())  # a file went back with it


def test_the_counter_cannot_be_set_back_by_making_it_anew(tmp_path: Path, swtpm: Swtpm) -> None:
    keys = store(tmp_path, swtpm).create()
    keys.floor.raise_to(5)
    assert swtpm.tool("tpm2_nvundefine", "-C", "o", hex(INDEX)).returncode == 0
    with pytest.raises(Rejected, match="gone"):
        keys.floor.read()
    made = swtpm.tool("tpm2_nvdefine", hex(INDEX), "-C", "o", "-s", "8", "-a", "nt=counter|ownerread|ownerwrite|no_da")
    assert made.returncode == 0
    assert swtpm.tool("tpm2_nvincrement", "-C", "o", hex(INDEX)).returncode == 0
    assert keys.floor.read() >= 6


def test_an_epoch_far_away_is_not_counted_up_to(tmp_path: Path, swtpm: Swtpm) -> None:
    keys = store(tmp_path, swtpm).create()
    with pytest.raises(Rejected, match="at most"):
        keys.floor.raise_to(MAX_STEP + 1)
    assert keys.floor.read() == 0


def test_a_second_identity_on_the_same_machine_begins_at_nought(tmp_path: Path, swtpm: Swtpm) -> None:
    first = store(tmp_path / "one", swtpm).create()
    first.floor.raise_to(4)
    second = store(tmp_path / "two", swtpm).create()
    assert second.floor.read() == 0
    second.floor.raise_to(2)
    assert second.floor.read() == 2 and first.floor.read() > 4  # the old identity is over, and only ever refuses


def test_the_choice_is_made_once(tmp_path: Path, swtpm: Swtpm) -> None:
    told: list[str] = []

    def chosen(keys: str = "auto", tcti: str = "") -> ChosenKeyStore:
        settings = CommanderSettings(keys_dir=str(tmp_path), keys=keys, tcti=tcti or swtpm.tcti)  # type: ignore[arg-type]
        return ChosenKeyStore(settings, told.append)

    assert chosen().load() is None and chosen().place() is Place.EITHER
    made = chosen().create()
    assert isinstance(made, TpmDeviceKeys) and chosen().floor(made) is made.floor and not told
    for setting in ("auto", "tpm"):
        again = chosen(setting).load()
        assert again is not None and again.signer.public == made.signer.public
    with pytest.raises(KeysDamaged):
        chosen("file").load()
    with pytest.raises(KeysUnavailable):  # its TPM is gone: no new keys in a file
        chosen(tcti="device:/nowhere/tpmrm0").load()
    with pytest.raises(KeysDamaged):
        chosen(tcti="device:/nowhere/tpmrm0").create()


def test_a_tpm_whose_owner_is_somebody_else_is_no_place_for_keys(tmp_path: Path, swtpm: Swtpm) -> None:
    assert swtpm.tool("tpm2_changeauth", "-c", "owner", "secret").returncode == 0
    told: list[str] = []
    auto = CommanderSettings(keys_dir=str(tmp_path), tcti=swtpm.tcti)
    with pytest.raises(Rejected):
        ChosenKeyStore(CommanderSettings(keys_dir=str(tmp_path), keys="tpm", tcti=swtpm.tcti), told.append).create()
    assert not list(tmp_path.glob("*.json"))
    keys = ChosenKeyStore(auto, told.append).create()
    assert not isinstance(keys, TpmDeviceKeys) and len(told) == 1 and "cannot be used" in told[0]
