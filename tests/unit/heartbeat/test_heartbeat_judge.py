"""Health bits and the thresholds under which facts count as unchanged."""

import msgspec
import pytest

from agents.contracts.codec import encode
from agents.contracts.health import HealthBit, pack, unpack
from agents.contracts.ingest import Envelope
from agents.contracts.messages import Beat, Disk, Facts, Link, Via
from heartbeat.judge import Seen, bits, boot_prefix, changes, watched_link

GB = 10**9
DISK = Disk(path="/", total=100 * GB, free=50 * GB, inodes_free_percent=80.0)
FACTS = Facts(
    boot_id="b0071d", boot_time=1, hostname="node-1", hardware="NUC", serial="S1", kernel="6.1", os="Debian",
    versions={"galley": "1"}, cpus=4, memory_total=16 * GB, memory_available=8 * GB, load=[0.1, 0.2, 0.3],
    disks=[DISK], links=[Link(name="eth0", up=True, speed=1000, addresses=["10.0.0.1"])],
    temperature=50.0, clock_synchronized=True, interval=15.0,
)  # fmt: skip


def change(**fields):
    return changes(FACTS, msgspec.structs.replace(FACTS, **fields))


@pytest.mark.parametrize(
    "noise",
    [
        {"memory_available": 7 * GB},
        {"load": [9.0, 9.0, 9.0]},
        {"boot_time": 999},
        {"temperature": 59.0},
        {"disks": [msgspec.structs.replace(DISK, free=46 * GB)]},
        {"links": [Link(name="eth0", up=True, speed=1000, addresses=["10.0.0.1"])]},
    ],
)
def test_noise_is_no_change(noise):
    assert change(**noise) == []


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"boot_id": "other"}, "boot_id"),
        ({"kernel": "6.2"}, "kernel"),
        ({"memory_available": 5 * GB}, "memory_available"),
        ({"temperature": 65.0}, "temperature"),
        ({"temperature": None}, "temperature"),
        ({"clock_synchronized": False}, "clock_synchronized"),
        ({"disks": [msgspec.structs.replace(DISK, free=44 * GB)]}, "disks"),
        ({"disks": []}, "disks"),
        ({"links": [Link(name="eth0", up=False, speed=1000, addresses=["10.0.0.1"])]}, "links"),
        ({"links": []}, "links"),
    ],
)
def test_what_matters_is_a_change(fields, named):
    assert change(**fields) == [named]


def test_a_disk_that_crosses_the_line_is_a_change_however_little_it_moved():
    old = msgspec.structs.replace(FACTS, disks=[msgspec.structs.replace(DISK, free=5 * GB)])
    new = msgspec.structs.replace(FACTS, disks=[msgspec.structs.replace(DISK, free=5 * GB - 1)])
    assert changes(old, new) == ["disks"]


def test_the_first_facts_are_a_change():
    assert changes(None, FACTS) == ["first"]


def test_bits_tell_good_bad_and_not_looked_at_apart():
    seen = Seen(
        disks=[DISK, None], memory_total=16 * GB, memory_available=8 * GB, commander=False, local_api=True,
        temperature=95.0, outbox_filled=0.5,
    )  # fmt: skip
    good, bad, unknown = unpack(pack(bits(seen)))
    assert good == HealthBit.MEMORY | HealthBit.LOCAL_API | HealthBit.OUTBOX
    assert bad == HealthBit.DISK | HealthBit.COMMANDER | HealthBit.TEMPERATURE
    assert unknown == HealthBit.CLOCK | HealthBit.UPLINK | HealthBit.KUBELET | HealthBit.RUNTIME


def test_the_sensor_s_own_limit_counts_before_ours():
    assert bits(Seen(temperature=95.0, temperature_high=100.0))[HealthBit.TEMPERATURE] is True
    assert bits(Seen(temperature=85.0, temperature_high=80.0))[HealthBit.TEMPERATURE] is False


def test_every_bit_is_judged():
    assert set(bits(Seen())) == set(HealthBit)
    assert unpack(pack(bits(Seen()))).unknown == ~HealthBit(0)


def test_bits_of_a_newer_version_are_left_out():
    assert unpack(pack({HealthBit.DISK: True}) | 1 << 15 | 1 << 31).good == HealthBit.DISK


def test_a_beat_with_its_envelope_stays_below_160_bytes():
    beat = Beat(boot="ffffffff", up=10**9, ok=2**26 - 1, wit=15, via=Via.POD)
    envelope = Envelope(seq=10**9, t=1795000000000, m=msgspec.Raw(encode(beat)))
    assert len(encode(envelope)) <= 160


def test_boot_prefix_is_the_id_s_own_where_it_is_hex():
    assert boot_prefix("0A1b2c3d-9999-4000-8000-000000000000") == "0a1b2c3d"
    assert boot_prefix("boot-1") != boot_prefix("boot-2")
    assert len(boot_prefix("boot-1")) == 8


def test_links_of_pods_are_not_watched():
    assert watched_link("eth0") and watched_link("enp1s0")
    assert not watched_link("veth12ab") and not watched_link("lo") and not watched_link("cni0")
