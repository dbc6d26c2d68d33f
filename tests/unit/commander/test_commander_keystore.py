"""Where keys are made and looked for; what a TPM's tools say when they fail; the highest epoch in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.core.errors import Rejected
from edge_commander.epoch import FLOOR_NAME, FileEpochFloor, RolledBack, check_not_older
from edge_commander.keys import KEYS_NAME, FileDeviceKeys, FileKeyStore, KeysDamaged, KeysUnavailable
from edge_commander.keystore import ChosenKeyStore, Place, no_tpm, place
from edge_commander.settings import CommanderSettings
from edge_commander.tpm.codes import DEFINED, HANDLE, INTEGRITY, read_failure
from edge_commander.tpm.tools import Tpm, TpmRefused


@pytest.mark.parametrize(
    ("setting", "in_file", "in_tpm", "expected"),
    [
        ("auto", False, False, Place.EITHER),
        ("auto", True, False, Place.FILE),
        ("auto", False, True, Place.TPM),
        ("auto", True, True, None),
        ("file", False, False, Place.FILE),
        ("file", True, False, Place.FILE),
        ("file", False, True, None),
        ("file", True, True, None),
        ("tpm", False, False, Place.TPM),
        ("tpm", True, False, None),
        ("tpm", False, True, Place.TPM),
        ("tpm", True, True, None),
    ],
)
def test_keys_stay_where_they_are(setting: str, in_file: bool, in_tpm: bool, expected: Place | None) -> None:
    if expected is None:
        with pytest.raises(KeysDamaged):
            place(setting, in_file=in_file, in_tpm=in_tpm)
    else:
        assert place(setting, in_file=in_file, in_tpm=in_tpm) is expected


def settings(folder: Path, keys: str = "auto", tcti: str = "") -> CommanderSettings:
    return CommanderSettings(keys_dir=str(folder), keys=keys, tcti=tcti or f"device:{folder / 'no-tpm'}")  # type: ignore[arg-type]


def test_without_a_tpm_they_are_made_in_a_file_and_it_is_said(tmp_path: Path) -> None:
    told: list[str] = []
    store = ChosenKeyStore(settings(tmp_path), told.append)
    assert store.place() is Place.EITHER and store.load() is None
    made = store.create()
    assert isinstance(made, FileDeviceKeys) and (tmp_path / KEYS_NAME).exists()
    assert len(told) == 1 and "there is no" in told[0]
    again = ChosenKeyStore(settings(tmp_path), told.append).load()
    assert again is not None and again.signer.public == made.signer.public
    with pytest.raises(KeysDamaged):
        ChosenKeyStore(settings(tmp_path, "tpm"), told.append).load()
    store.floor(made).raise_to(4)
    assert FileEpochFloor(tmp_path).read() == 4


def test_damaged_keys_in_a_file_are_not_replaced_by_keys_in_a_tpm(tmp_path: Path) -> None:
    FileKeyStore(tmp_path).create()
    (tmp_path / KEYS_NAME).write_text("{")
    for _ in range(2):
        with pytest.raises(KeysDamaged):
            ChosenKeyStore(settings(tmp_path), str).load()
        with pytest.raises(KeysDamaged):
            ChosenKeyStore(settings(tmp_path), str).create()


def test_a_tpm_that_is_wanted_and_not_there_is_waited_for(tmp_path: Path) -> None:
    with pytest.raises(KeysUnavailable):
        ChosenKeyStore(settings(tmp_path, "tpm"), str).create()
    assert not list(tmp_path.glob("*.json"))


def test_a_device_that_is_no_tpm(tmp_path: Path) -> None:
    device = tmp_path / "tpmrm9"
    assert no_tpm(Tpm(f"device:{device}")) == f"there is no {device}"
    device.touch()
    assert no_tpm(Tpm(f"device:{device}")) == ""
    assert no_tpm(Tpm("swtpm:path=/nowhere")) == ""
    with pytest.raises(KeysUnavailable):  # there, and perhaps a TPM tomorrow: keys for ever are not made in a file
        ChosenKeyStore(settings(tmp_path, tcti=f"device:{device}"), str).create()
    assert not list(tmp_path.glob("*.json"))


FOREIGN = "ERROR: Eys_Load(0x1DF) - tpm:parameter(1):integrity check failed\nERROR: Unable to run tpm2_load\n"
BUSY = "ERROR: Esys_StartAuthSession(0x903) - tpm:warn(2.0): out of memory for session contexts\n"
GONE = "ERROR: Esys_TR_FromTPMPublic(0x18B) - tpm:handle(1):the handle is not correct for the use\n"


@pytest.mark.parametrize(
    ("status", "text", "code", "passing"),
    [
        (1, FOREIGN, 0x1DF, False),
        (1, BUSY, 0x903, True),
        (1, GONE, 0x18B, False),
        (1, "ERROR: Esys_NV_DefineSpace(0x14C) - tpm:error(2.0): NV Index already defined\n", 0x14C, False),
        (1, "ERROR: Esys_Sign(0x922) - tpm:warn(2.0): the TPM was not able to start the command\n", 0x922, True),
        (1, "ERROR: Esys_Sign(0x101) - tpm:error(2.0): commands not being accepted because of a TPM failure\n", 0x101,
         False),
        (1, "ERROR: Esys_GetCapability(0xA000A) - tcti:IO failure\n", 0xA000A, True),
        (1, 'ERROR: Could not load tcti, got: "device:/dev/tpmrm0"\n', 0, True),
        (4, "", 0, True),
        (1, "", 0, False),
        (1, "ERROR: could not read /proc/self/fd/7\n", 0, False),
    ],
)  # fmt: skip
def test_what_may_pass_is_told_from_what_will_not(status: int, text: str, code: int, passing: bool) -> None:
    said = read_failure(status, text)
    assert (said.code, said.passing) == (code, passing)
    assert said.text and "/proc" not in said.text


def test_codes_are_known_whichever_parameter_they_name() -> None:
    assert read_failure(1, FOREIGN).is_(INTEGRITY) and not read_failure(1, FOREIGN).is_(HANDLE)
    assert read_failure(1, GONE).is_(HANDLE) and not read_failure(1, BUSY).is_(HANDLE)
    assert read_failure(1, "ERROR: x(0x14C) - y").is_(DEFINED) and not read_failure(1, FOREIGN).is_(DEFINED)


def test_a_tool_is_bounded_in_time_and_its_failure_is_one_of_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    tpm = Tpm("device:/dev/tpmrm0", seconds=0.2)
    with pytest.raises(KeysUnavailable, match="tpm2-tools"):
        tpm.run("tool")
    scripts = {
        "tool-sleeps": "exec /bin/sleep 30",
        "tool-fails": "echo 'ERROR: x(0x1DF) - integrity' >&2; exit 1",
        "tool-dies": "kill -9 $$",
        "tool-works": '/bin/cat "$1" "$1" > "$2"; /bin/env > /dev/null',
    }
    for name, text in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(KeysUnavailable, match=r"within 0 s"):
        tpm.run("tool-sleeps")
    tpm = Tpm("device:/dev/tpmrm0")  # on a busy machine the others take longer than that too
    with pytest.raises(TpmRefused) as refused:
        tpm.run("tool-fails")
    assert refused.value.said.is_(INTEGRITY)
    with pytest.raises(KeysUnavailable):
        tpm.run("tool-dies")
    assert tpm.run("tool-works", "{a}", "{b}", given={"a": b"x\0y"}, wanted=["b"]) == {"b": b"x\0yx\0y"}


def test_the_floor_in_a_file_never_goes_down(tmp_path: Path) -> None:
    floor = FileEpochFloor(tmp_path)
    assert floor.read() == 0
    for epoch, then in ((1, 1), (3, 3), (2, 3), (3, 3)):
        floor.raise_to(epoch)
        assert FileEpochFloor(tmp_path).read() == then
    (tmp_path / FLOOR_NAME).write_text("{")
    for _ in range(2):
        with pytest.raises(Rejected, match="damaged"):
            FileEpochFloor(tmp_path).read()
    with pytest.raises(Rejected):
        FileEpochFloor(tmp_path).raise_to(9)


def test_an_epoch_below_the_floor_is_an_older_ident() -> None:
    check_not_older(3, 3)
    check_not_older(4, 3)
    with pytest.raises(RolledBack, match="epoch 2"):
        check_not_older(2, 3)
