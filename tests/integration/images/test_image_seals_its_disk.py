"""Early boot's own rule for encrypted partitions: what is made, opened, given up or left alone; killed at each command.

cryptsetup and systemd-cryptenroll are real, with a TPM by swtpm where it says so. Only the kernel's part is played, as
there is no device-mapper everywhere: what an opened partition holds is a file that goes by the header's UUID.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_commander.settings import WipeSettings
from edge_commander.wipe.disk import Disk
from edge_commander.wipe.engine import Engine
from edge_commander.wipe.journal import Journal
from edge_commander.wipe.luks import LOOK, Luks, read
from edge_commander.wipe.partitions import Partitions
from tests.fakes import wipe_kit as kit
from tests.site_in_a_box.swtpm import Swtpm

LIBRARY = Path(__file__).resolve().parents[3] / "images/nuc/files/usr/lib/galley"
MIB = 2**20
SIZE = 20 * MIB
NAMES = ("ident", "keep", "conf", "var")
COUNTED = ("cryptsetup", "systemd-cryptenroll", "systemd-cryptsetup", "mkfs.ext4", "dd", "truncate", "sync")
COUNT = """\
n=$(($(cat "$FAKE/count") + 1)); echo $n > "$FAKE/count"
[ "$n" != "$(cat "$FAKE/kill")" ] || { kill -9 "-$(cat "$FAKE/group")"; kill -9 0; }
"""
ATTACH = """\
[ "$1" = attach ] || { rm -f "$DEV/mapper/$2"; exit; }
header=${5##*header=}; [ "$header" != "$5" ] || header=$3
cryptsetup open --test-passphrase --key-file "$FAKE/tpm" "$header" "by-tpm" || { echo "TPM refuses" >&2; exit 1; }
file=$FAKE/content/$(cryptsetup luksUUID "$header")
[ -e "$file" ] || truncate -s 16M "$file"
ln -s "$file" "$DEV/mapper/$2"
"""
ENROLL = """\
for header; do :; done
key=${1#*=}
cryptsetup luksAddKey -q --key-file "$key" --pbkdf pbkdf2 --pbkdf-force-iterations 1000 "$header" "$FAKE/tpm"
cryptsetup luksRemoveKey -q "$header" "$key"
"""


class Machine:
    """Four partitions as files, /dev and /sys of a machine, and a TPM that is a secret in a file."""

    def __init__(self, folder: Path, names: str = " ".join(NAMES)) -> None:
        self.folder, self.names = folder, names
        self.sys, self.dev, self.run, self.fake = (folder / name for name in ("sys", "dev", "run", "fake"))
        for place in ("sys/class/tpm/tpm0", "dev/disk/by-partlabel", "dev/mapper", "fake/bin", "fake/content"):
            (folder / place).mkdir(parents=True)
        (self.sys / "class/tpm/tpm0/tpm_version_major").write_text("2\n")
        for name in ("tpmrm0", "kmsg", "console"):
            (self.dev / name).write_text("")
        for name in NAMES:
            self.part(name).write_bytes(bytes(SIZE))
        self.other_tpm()
        for name in COUNTED:
            real = {"systemd-cryptsetup": ATTACH, "systemd-cryptenroll": ENROLL}.get(name)
            path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin\n"  # what one of these runs is not counted
            self._program(name, COUNT + path + (real or f'exec {name} "$@"\n'))
        self._program("systemd-creds", "cat\n")
        self.options: dict[str, str] = {}

    def _program(self, name: str, text: str) -> None:
        file = self.fake / "bin" / name
        file.write_text(f"#!/bin/sh\n{text}")
        file.chmod(0o755)

    def part(self, name: str) -> Path:
        return self.dev / "disk/by-partlabel" / name

    def other_tpm(self) -> None:
        (self.fake / "tpm").write_bytes(os.urandom(32))

    def no_tpm(self) -> None:
        (self.dev / "tpmrm0").unlink()

    def boot(self, kill_at: int = 0) -> int:
        """One start: /run is empty, nothing is open. Returns how many commands were run."""
        subprocess.run(["rm", "-rf", str(self.run), *map(str, (self.dev / "mapper").iterdir())], check=True)
        (self.run / "dev").mkdir(parents=True)
        (self.run / "settings").mkdir()
        if (self.folder / "forget").exists():
            (self.run / "settings/forget").write_bytes((self.folder / "forget").read_bytes())
        (self.fake / "count").write_text("0")
        (self.fake / "kill").write_text(str(kill_at))
        lines = f'. {LIBRARY}/early; . {LIBRARY}/sealed; NAMES="{self.names}"; PATH=$FAKE/bin:$PATH; '
        lines += "echo $$ > $FAKE/group; open_all"
        env = {"SYS": str(self.sys), "DEV": str(self.dev), "RUN": str(self.run), "FAKE": str(self.fake), **self.options}
        # As a power cut does, a kill takes the whole group, and that of what `timeout` started.
        done = subprocess.run(
            ["sh", "-c", lines], env=env, capture_output=True, text=True, check=False, timeout=120, process_group=0
        )
        assert (done.returncode == -9) == bool(kill_at), done.stderr
        return int((self.fake / "count").read_text())

    def problems(self) -> str:
        file = self.run / "problems"
        return file.read_text() if file.exists() else ""

    def used(self) -> dict[str, str]:
        """What each name leads to, relative to /dev."""
        links = {one.name: one.readlink() for one in (self.run / "dev").iterdir()}
        return {name: str(path.relative_to(self.dev)) for name, path in links.items()}

    def put(self, name: str, text: str) -> None:
        """Something behind the file system's own blocks, through what was opened."""
        with (self.run / "dev" / name).open("r+b") as file:
            file.seek(12 * MIB)
            file.write(text.encode())

    def get(self, name: str) -> str:
        with (self.run / "dev" / name).open("rb") as file:
            file.seek(12 * MIB)
            return file.read(16).rstrip(b"\0").decode()

    def uuid(self, name: str) -> str:
        return cryptsetup("luksUUID", str(self.part(name))).stdout.strip()


def cryptsetup(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["cryptsetup", *arguments], capture_output=True, text=True, check=check)


ALL_SEALED = {name: f"mapper/galley-{name}" for name in NAMES}
ALL_PLAIN = {name: f"disk/by-partlabel/{name}" for name in NAMES}


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder where flushing costs nothing."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def machine(memory: Path) -> Machine:
    return Machine(memory)


@pytest.fixture
def var(memory: Path) -> Machine:
    """A machine of which only `var` is looked at."""
    return Machine(memory, "var")


def test_blank_partitions_are_sealed_and_the_next_start_opens_them(machine: Machine) -> None:
    machine.boot()
    assert (machine.problems(), machine.used()) == ("", ALL_SEALED)
    assert len({machine.uuid(name) for name in NAMES}) == len(NAMES)
    for name in NAMES:
        subprocess.run(["e2fsck", "-fn", str(machine.run / "dev" / name)], check=True, capture_output=True)
        machine.put(name, name)
    before = {name: machine.part(name).read_bytes() for name in NAMES}
    machine.boot()
    assert (machine.problems(), machine.used()) == ("", ALL_SEALED)
    assert [machine.get(name) for name in NAMES] == list(NAMES)
    assert {name: machine.part(name).read_bytes() for name in NAMES} == before


def test_no_key_stays_behind(var: Machine) -> None:
    """Neither a slot for the key that was in memory, nor that key, nor a file of it."""
    var._program("rm", '[ "${1##*/}" != key ] || cp "$1" "$FAKE/seen"; PATH=/usr/bin:/bin; exec rm "$@"\n')
    var.boot()
    key = (var.fake / "seen").read_bytes()
    assert len(key) == 64
    partition = str(var.part("var"))
    assert cryptsetup("luksDump", partition).stdout.count(": luks2") == 1
    trial = ("open", "--test-passphrase", "--key-file")
    assert cryptsetup(*trial, str(var.fake / "tpm"), partition).returncode == 0
    assert cryptsetup(*trial, str(var.fake / "seen"), partition, check=False).returncode != 0
    assert key not in var.part("var").read_bytes()
    for file in [one for one in var.run.rglob("*") if one.is_file()]:
        assert key not in file.read_bytes(), file
    assert not (var.run / "seal").exists()


def test_the_engine_knows_such_a_header(var: Machine) -> None:
    """So a wipe takes the headers and key slots, and not every block."""
    var.boot()
    with var.part("var").open("rb") as file:
        assert read(file.read(LOOK), SIZE) == Luks(16 * MIB)


def test_killed_at_each_command_the_next_start_makes_it(var: Machine) -> None:
    commands = var.boot()
    assert commands >= 12
    for at in range(1, commands + 1):
        var.part("var").write_bytes(bytes(SIZE))
        var.boot(at)
        var.boot()
        assert (var.problems(), var.used()) == ("", {"var": "mapper/galley-var"}), f"killed at {at}"
        subprocess.run(["e2fsck", "-fn", str(var.run / "dev/var")], check=True, capture_output=True)


@pytest.mark.parametrize("cut", [36864, 300_000, 8 * MIB, 16 * MIB, 8192, 16384, 20480, 24576, 32768])
def test_a_header_that_was_written_in_part_is_no_stumbling_block(var: Machine, cut: int) -> None:
    """Its key slots are written first, up to there, then what is before them, its first block last."""
    var.boot()
    whole = var.part("var").read_bytes()
    slots = whole[32768:cut] + bytes(SIZE - cut) if cut > 32768 else whole[32768:]
    heads = whole[4096:cut] + bytes(32768 - cut) if cut <= 32768 else bytes(28672)
    var.part("var").write_bytes(bytes(4096) + heads + slots)
    var.boot()
    assert (var.problems(), var.used()) == ("", {"var": "mapper/galley-var"})


def test_what_a_wipe_erased_is_sealed_again_with_another_key(machine: Machine) -> None:
    """`var` was sealed, `conf` was plain; `ident` and `keep` are the same, byte for byte."""
    subprocess.run(["mkfs.ext4", "-q", "-F", str(machine.part("conf"))], check=True)
    machine.boot()
    machine.put("var", "a secret")
    was, kept = machine.uuid("var"), {name: machine.part(name).read_bytes() for name in ("ident", "keep")}
    journal = machine.folder / "journal"
    journal.write_bytes(bytes(2**20))
    own = WipeSettings(journal=str(journal), **{name: str(machine.part(name)) for name in NAMES})
    with Disk(journal) as device:
        Journal(device).write_both(kit.armed())
        record = Engine(
            Journal(device), Partitions(own), lambda: kit.WARRANT, [].append, lambda: None, blank=True
        ).run()
    assert record is not None
    assert [(one.target, one.method) for one in record.targets] == [("var", "header"), ("conf", "blocks")]
    assert machine.part("var").read_bytes()[: 16 * MIB] == bytes(16 * MIB)
    machine.boot()
    assert (machine.problems(), machine.used()) == ("", ALL_SEALED)
    assert machine.uuid("var") != was
    assert machine.get("var") == ""
    assert {name: machine.part(name).read_bytes() for name in ("ident", "keep")} == kept


def test_without_a_tpm_plain_ones_are_used_as_they_are(machine: Machine) -> None:
    machine.no_tpm()
    for name in NAMES:
        subprocess.run(["mkfs.ext4", "-q", "-F", str(machine.part(name))], check=True)
    before = {name: machine.part(name).read_bytes() for name in NAMES}
    machine.boot()
    assert (machine.problems(), machine.used()) == ("", ALL_PLAIN)
    assert {name: machine.part(name).read_bytes() for name in NAMES} == before


def test_a_tpm_that_came_later_seals_what_a_wipe_left_blank_alone(machine: Machine) -> None:
    for name in NAMES:
        subprocess.run(["mkfs.ext4", "-q", "-F", str(machine.part(name))], check=True)
    machine.boot()
    assert machine.used() == ALL_PLAIN
    machine.part("var").write_bytes(bytes(SIZE))
    machine.boot()
    assert machine.used() == ALL_PLAIN | {"var": "mapper/galley-var"}


def test_what_is_blank_never_becomes_plain_because_the_tpm_is_gone(machine: Machine) -> None:
    machine.boot()
    machine.part("var").write_bytes(bytes(SIZE))
    machine.no_tpm()
    machine.boot()
    assert machine.used() == {}
    assert "var: blank, and there is no TPM" in machine.problems()
    assert "switch it on" in machine.problems()
    assert machine.part("var").read_bytes() == bytes(SIZE)


def test_a_tpm_that_does_not_seal_is_as_none(var: Machine) -> None:
    var._program("systemd-creds", "echo 'no owner' >&2; exit 1\n")
    var.boot()
    assert "the TPM does not seal and unseal: no owner" in var.problems()
    assert var.used() == {}
    assert not (var.run / "seals").exists()


def test_what_is_neither_is_left_alone(machine: Machine) -> None:
    for name in NAMES:
        machine.part(name).write_bytes(b"something" + bytes(SIZE - 9))
    before = {name: machine.part(name).read_bytes() for name in NAMES}
    machine.boot()
    assert machine.used() == {}
    assert machine.problems().count("neither a file system nor LUKS2") == len(NAMES)
    assert {name: machine.part(name).read_bytes() for name in NAMES} == before


def test_another_tpm_opens_nothing_and_says_what_a_person_can_do(machine: Machine) -> None:
    machine.boot()
    before = {name: machine.part(name).read_bytes() for name in NAMES}
    machine.other_tpm()
    machine.boot()
    assert machine.used() == {}
    assert f"by {machine.uuid('ident')} in the file galley/forget" in machine.problems()
    assert {name: machine.part(name).read_bytes() for name in NAMES} == before


def test_a_person_s_word_gives_up_what_no_tpm_opens_and_only_once(machine: Machine) -> None:
    machine.boot()
    word = machine.uuid("ident")
    (machine.folder / "forget").write_text(f"{word}\n")
    machine.boot()
    assert machine.uuid("ident") == word, "what opens is not forgotten"
    machine.other_tpm()
    machine.boot()
    assert (machine.problems(), machine.used()) == ("", ALL_SEALED)
    assert word not in {machine.uuid(name) for name in NAMES}
    machine.other_tpm()
    machine.boot()
    assert machine.used() == {}, "an old word says nothing of what was made since"


@pytest.mark.parametrize("form", ["{}\r\n", "an older word\r\n {}"])
def test_a_word_is_taken_however_an_editor_ends_its_line(var: Machine, form: str) -> None:
    var.boot()
    word = var.uuid("var")
    (var.folder / "forget").write_bytes(form.format(word).encode())
    var.other_tpm()
    var.boot()
    assert (var.problems(), var.used()) == ("", {"var": "mapper/galley-var"})


@pytest.mark.parametrize("text", [b"\n", b".*\n"])
@pytest.mark.parametrize("named", [True, False])
def test_another_word_gives_up_nothing_also_where_the_partition_tells_no_name(
    var: Machine, text: bytes, named: bool
) -> None:
    var.boot()
    before = var.part("var").read_bytes()
    (var.folder / "forget").write_bytes(text)
    var.other_tpm()
    if not named:
        var._program("cryptsetup", '[ "$1" != luksUUID ] || exit 1; PATH=/usr/sbin:/usr/bin exec cryptsetup "$@"\n')
    var.boot()
    assert var.used() == {} and "var: this machine's TPM does not open it" in var.problems()
    assert var.part("var").read_bytes() == before


def test_killed_amid_giving_up_the_next_start_goes_on(machine: Machine) -> None:
    """Two partitions: the word names the one that goes last."""
    machine.names = "ident var"
    machine.boot()
    word = machine.uuid("ident")
    first = {name: machine.part(name).read_bytes() for name in ("ident", "var")}
    (machine.folder / "forget").write_text(f"{word}\n")
    machine.other_tpm()
    commands = machine.boot()
    for at in range(5, commands + 1, 6):
        for name, content in first.items():
            machine.part(name).write_bytes(content)
        machine.boot(at)
        machine.boot()
        assert machine.problems() == "", f"killed at {at}"
        assert machine.used() == {name: f"mapper/galley-{name}" for name in ("ident", "var")}, f"killed at {at}"


@pytest.fixture
def tpm() -> Iterator[Swtpm]:
    with Swtpm() as one:
        yield one


def test_a_real_tpm_holds_the_only_key_bound_to_no_register(var: Machine, tpm: Swtpm) -> None:
    """The header as systemd-cryptenroll makes it: one slot, one token, no PCR: an update starts another kernel."""
    (var.fake / "bin/systemd-cryptenroll").unlink()
    var._program("systemd-cryptsetup", 'ln -sf "$FAKE/plain" "$DEV/mapper/$2"; truncate -s 16M "$FAKE/plain"\n')
    var.options = {"TPM": tpm.tcti}
    var.boot()
    assert (var.problems(), var.used()) == ("", {"var": "mapper/galley-var"})
    dump = cryptsetup("luksDump", str(var.part("var"))).stdout
    assert dump.count(": luks2") == 1
    assert dump.count("systemd-tpm2") == 1
    pcrs = [line for line in dump.splitlines() if "tpm2-hash-pcrs" in line]
    assert len(pcrs) == 1
    assert pcrs[0].split(":")[1].strip() in ("", "n/a")
    with var.part("var").open("rb") as file:
        assert read(file.read(LOOK), SIZE) == Luks(16 * MIB)
