"""What a box's disk says of clusters, read from outside, at any time, whether the box has power or not.

etcd writes the cluster's id into the second record of each file of its write-ahead log (etcd's source: wal.Create,
walpb.Record, etcdserverpb.Metadata). A file that was cut while it was made has none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

METADATA = 1
HEAD = 4096
"""Both first records are far within it."""


def cluster_ids(etcd: Path) -> set[str]:
    """Ids of all clusters that wrote to an etcd data folder, in hexadecimal."""
    found = set()
    for file in etcd.glob("member/wal/*.wal"):
        try:
            with file.open("rb") as stream:
                head = stream.read(HEAD)
        except OSError:
            continue  # it went just now
        for data in _records(head):
            fields = dict(_fields(data))
            if fields.get(1) == METADATA and isinstance(inner := fields.get(3), bytes):
                cluster = dict(_fields(inner)).get(2)
                assert isinstance(cluster, int)
                found.add(f"{cluster:x}")
    return found


def marked_cluster(marker: Path) -> str:
    """The cluster that a node's marker says it became a member of; empty while it is none."""
    try:
        return str(json.loads(marker.read_bytes())["value"]["cluster"])
    except (OSError, ValueError, KeyError):
        return ""


def _records(head: bytes) -> Iterator[bytes]:
    """Length (56 bits, little endian), padding (the next byte's low bits, where its high bit is set), a record."""
    at = 0
    while at + 8 <= len(head):
        length = int.from_bytes(head[at : at + 7], "little")
        padding = head[at + 7] & 7 if head[at + 7] & 0x80 else 0
        if length == 0 or at + 8 + length > len(head):
            return
        yield head[at + 8 : at + 8 + length]
        at += 8 + length + padding


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """A protocol buffer's fields: numbers and bytes are all that these records have."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        value, at = _varint(data, at)
        if tag & 7 == 2:
            yield tag >> 3, data[at : at + value]
            at += value
        else:
            yield tag >> 3, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
