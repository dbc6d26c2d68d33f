"""Our credentials are opened by a TPM (swtpm), and those of tpm2_makecredential by our device; no others."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from agents.core.errors import Rejected
from agents.core.tpm_public import read_public
from cloud_endpoint.rules.credential import make_credential, read_endorsement
from edge_commander.keys import works
from edge_commander.tpm.endorsement import EkKind, endorsement_hash, endorsement_key
from edge_commander.tpm.keys import TpmDeviceKeys, TpmKeyStore
from edge_commander.tpm.tools import Tpm
from tests.site_in_a_box.swtpm import Swtpm

kinds = pytest.mark.parametrize("kind", ["ecc", "rsa"])


def device(folder: Path, swtpm: Swtpm, kind: EkKind) -> tuple[TpmDeviceKeys, bytes, bytes]:
    """Keys, the endorsement key in DER, and the signing key's Name."""
    folder.mkdir(exist_ok=True)
    keys = TpmKeyStore(folder, Tpm(swtpm.tcti), kind).create()
    assert keys.attester is not None
    evidence = keys.attester.evidence()
    return keys, evidence.ek, read_public(evidence.key_public).name


@kinds
def test_the_tpm_opens_what_we_make(tmp_path: Path, swtpm: Swtpm, kind: EkKind) -> None:
    keys, ek, name = device(tmp_path, swtpm, kind)
    assert keys.attester is not None
    for length in (1, 16, 32):
        secret = secrets.token_bytes(length)
        made = make_credential(read_endorsement(ek), name, secret, secrets.token_bytes)
        assert keys.attester.open(made) == secret
    swtpm.restart()
    assert keys.attester.open(made) == secret
    assert works(keys.signer)


@kinds
def test_for_another_tpm_another_key_or_altered_it_stays_shut(
    tmp_path: Path, swtpm: Swtpm, other_swtpm: Swtpm, kind: EkKind
) -> None:
    keys, ek, name = device(tmp_path / "one", swtpm, kind)
    other, other_ek, other_name = device(tmp_path / "other", other_swtpm, kind)
    assert ek != other_ek and keys.attester is not None and other.attester is not None
    secret = secrets.token_bytes(32)
    made = make_credential(read_endorsement(ek), name, secret, secrets.token_bytes)
    with pytest.raises(Rejected):
        other.attester.open(made)
    for wrong in (
        make_credential(read_endorsement(ek), other_name, secret, secrets.token_bytes),
        make_credential(read_endorsement(other_ek), name, secret, secrets.token_bytes),
        made[:10] + bytes([made[10] ^ 1]) + made[11:],
        made[:-1],
        b"",
        bytes(2000),
    ):
        with pytest.raises(Rejected):
            keys.attester.open(wrong)
    assert keys.attester.open(made) == secret


@kinds
def test_ours_are_built_as_those_of_the_tools(tmp_path: Path, swtpm: Swtpm, kind: EkKind) -> None:
    keys, ek, name = device(tmp_path, swtpm, kind)
    tpm = Tpm(swtpm.tcti)
    public = tpm.run("tpm2_createek", "-G", kind, "-c", "{c}", "-u", "{u}", wanted=["c", "u"])["u"]
    arguments = ("-T", "none", "-u", "{ek}", "-s", "{secret}", "-n", name.hex(), "-o", "{made}")
    secret = secrets.token_bytes(32)
    theirs = tpm.run("tpm2_makecredential", *arguments, given={"ek": public, "secret": secret}, wanted=["made"])["made"]
    assert keys.attester is not None and keys.attester.open(theirs[8:]) == secret
    ours = make_credential(read_endorsement(ek), name, secret, secrets.token_bytes)
    assert len(ours) == len(theirs) - 8


@kinds
def test_the_hash_is_that_of_the_key_as_the_tools_write_it(tmp_path: Path, swtpm: Swtpm, kind: EkKind) -> None:
    import hashlib

    from cryptography.hazmat.primitives import serialization

    swtpm.tool("tpm2_createek", "-G", kind, "-c", str(tmp_path / "ek.ctx"), "-u", str(tmp_path / "ek.pem"), "-f", "pem")
    key = serialization.load_pem_public_key((tmp_path / "ek.pem").read_bytes())
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert endorsement_hash(Tpm(swtpm.tcti), kind) == hashlib.sha256(der).hexdigest()
    assert endorsement_key(Tpm(swtpm.tcti), kind)[1] == der


def test_no_session_is_left_behind(tmp_path: Path, swtpm: Swtpm) -> None:
    """64 would be the end of it: also those of challenges that could not be opened."""
    keys, ek, name = device(tmp_path, swtpm, "ecc")
    assert keys.attester is not None
    good = make_credential(read_endorsement(ek), name, b"s", secrets.token_bytes)
    for _ in range(2):
        keys.attester.open(good)
        with pytest.raises(Rejected):
            keys.attester.open(good[:-1] + bytes([good[-1] ^ 1]))
    for kind in ("handles-loaded-session", "handles-saved-session", "handles-persistent"):
        assert swtpm.tool("tpm2_getcap", kind).stdout.strip() == "", kind
