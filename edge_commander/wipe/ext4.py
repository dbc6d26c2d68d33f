"""Makes an ext4 file system whose bytes follow from the command and the target alone. Runs mkfs.ext4.

UUID and hash seed are given, times come from `SOURCE_DATE_EPOCH`, nothing is left to be made at the first mount, and
no discard is sent: made again over a half-made one, it is the same.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from pathlib import Path

from edge_commander.wipe.record import Target

NAMESPACE = uuid.UUID("6f0ef3a4-7d5a-5f0e-9b5d-3f5b1f0c9a11")
EXTENDED = "nodiscard,lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"
FEATURES = (
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,"
    "dir_nlink,extra_isize,metadata_csum"
)
"""Named here, as this machine's own mke2fs.conf is no part of it. Without one mkfs.ext4 makes no more than an ext2."""
INODE_BYTES, BLOCK_BYTES, BYTES_PER_INODE = "256", "4096", "16384"


def arguments(device: Path, target: Target, command: str) -> list[str]:
    """What is run. `command`: the command's id."""
    name = str(uuid.uuid5(NAMESPACE, f"{command} {target.value}"))
    seed = str(uuid.uuid5(NAMESPACE, f"{command} {target.value} hash"))
    extended = f"hash_seed={seed},{EXTENDED}"
    sizes = ["-O", FEATURES, "-I", INODE_BYTES, "-b", BLOCK_BYTES, "-i", BYTES_PER_INODE]
    return ["mkfs.ext4", "-q", "-F", "-F", "-L", target.value, "-U", name, *sizes, "-E", extended, str(device)]


def make(device: Path, target: Target, command: str, issued: int) -> None:
    """On the medium when it returns. `issued`: the command's, Unix s. Raises OSError."""
    run = arguments(device, target, command)
    env = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "SOURCE_DATE_EPOCH": str(issued),
        "E2FSPROGS_FAKE_TIME": str(issued),  # what e2fsprogs before 1.47.1 read
        "MKE2FS_CONFIG": "/dev/null",  # this machine's own defaults are no part of it
    }
    # As long as a disk takes, like the erasing before it.
    done = subprocess.run(run, check=False, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        raise OSError(f"mkfs.ext4: {lines[-1][:200]}")
    descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
