"""The contract of KeyStore and EpochFloor, for keys in a file and in a TPM alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents.core.errors import Rejected
from agents.core.jose import SignatureRefused, SoftwareKey, sign_compact, verify_compact
from edge_commander.epoch import EpochFloor, FileEpochFloor
from edge_commander.keys import DeviceKeys, FileDeviceKeys, FileKeyStore, KeysDamaged, KeyStore
from edge_commander.tpm.keys import TpmDeviceKeys, TpmKeyStore
from edge_commander.tpm.tools import Tpm
from tests.site_in_a_box.swtpm import Swtpm

Opener = Callable[[Path], KeyStore]


@pytest.fixture(params=["file", "tpm"])
def opener(request: pytest.FixtureRequest) -> Iterator[Opener]:
    """Opens the store of a directory; each time as a new process would."""
    if request.param == "file":
        yield FileKeyStore
        return
    with Swtpm() as swtpm:
        yield lambda directory: TpmKeyStore(directory, Tpm(swtpm.tcti))


def floor_of(keys: DeviceKeys, directory: Path) -> EpochFloor:
    return keys.floor if isinstance(keys, TpmDeviceKeys) else FileEpochFloor(directory)


def only_file(directory: Path) -> Path:
    (file,) = [path for path in directory.iterdir() if not path.name.startswith(".")]
    return file


def test_made_once_and_the_same_for_ever(opener: Opener, tmp_path: Path) -> None:
    assert opener(tmp_path).load() is None
    made = opener(tmp_path).create()
    again = opener(tmp_path).load()
    assert again is not None
    assert (again.signer.public, again.sealing) == (made.signer.public, made.sealing)
    assert made.signer.public != made.sealing
    with pytest.raises(KeysDamaged):
        opener(tmp_path).create()
    assert only_file(tmp_path).stat().st_mode & 0o777 == 0o600


def test_signatures_are_good_and_of_this_key_alone(opener: Opener, tmp_path: Path) -> None:
    keys = opener(tmp_path).create()
    for n in range(12):  # r and s begin with zeros now and then
        token = sign_compact(b"%d" % n, keys.signer, "t")
        assert verify_compact(token, keys.signer.public, types=frozenset({"t"})) == b"%d" % n
        with pytest.raises(SignatureRefused):
            verify_compact(token, keys.sealing, types=frozenset({"t"}))
    assert len(keys.signer.sign(b"x" * 100_000)) == 64


def test_both_sides_agree(opener: Opener, tmp_path: Path) -> None:
    keys = opener(tmp_path).create()
    for _ in range(6):
        peer = FileDeviceKeys(SoftwareKey.generate(), SoftwareKey.generate())
        shared = keys.agree(peer.sealing)
        assert len(shared) == 32 and shared == peer.agree(keys.sealing)
        assert shared != keys.agree(peer.signer.public)
    for bad in ({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, SoftwareKey.generate("Ed25519").public, {}):
        with pytest.raises(SignatureRefused):
            keys.agree(bad)


def test_nothing_private_shows(opener: Opener, tmp_path: Path) -> None:
    keys = opener(tmp_path).create()
    stored = [part for part in only_file(tmp_path).read_text().split('"') if len(part) >= 43]
    shown = repr(keys) + repr(keys.signer) + repr(opener(tmp_path)) + str(keys.signer.public) + str(keys.sealing)
    public = {*keys.signer.public.values(), *keys.sealing.values()}
    assert stored and not [part for part in stored if part in shown and part not in public]


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_damaged_keys_are_kept_and_never_replaced(opener: Opener, tmp_path: Path, damage: str) -> None:
    made = opener(tmp_path).create()
    file = only_file(tmp_path)
    data = file.read_bytes()
    middle = len(data) // 2
    flipped = data[:middle] + (b"A" if data[middle : middle + 1] != b"A" else b"B") + data[middle + 1 :]
    damaged = {"truncate": data[:middle], "empty": b"", "flip": flipped}[damage]
    file.write_bytes(damaged)
    for _ in range(2):
        with pytest.raises(KeysDamaged) as error:
            opener(tmp_path).load()
        assert file.name in error.value.file
        with pytest.raises(KeysDamaged):
            opener(tmp_path).create()
    assert [path.read_bytes() for path in tmp_path.glob("*.corrupt-*")] == [damaged]
    file.write_bytes(data)
    again = opener(tmp_path).load()
    assert again is not None and again.signer.public == made.signer.public


def test_the_floor_never_goes_down(opener: Opener, tmp_path: Path) -> None:
    keys = opener(tmp_path).create()
    assert floor_of(keys, tmp_path).read() == 0
    for epoch, then in ((1, 1), (4, 4), (2, 4), (0, 4), (5, 5)):
        floor_of(keys, tmp_path).raise_to(epoch)
        again = opener(tmp_path).load()
        assert again is not None and floor_of(again, tmp_path).read() == then


def test_an_attester_is_there_where_there_is_a_tpm(opener: Opener, tmp_path: Path) -> None:
    keys = opener(tmp_path).create()
    assert (keys.attester is None) is isinstance(keys, FileDeviceKeys)
    if keys.attester is not None:
        with pytest.raises(Rejected):
            keys.attester.open(b"nonsense")
        keys.signer.sign(b"and it works on")
