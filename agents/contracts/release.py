"""A release of the node's image: what an A/B update puts in place of the idle root. Pure.

It travels as `release.json`, a SignedDocument by operators' keys, in one folder with the files that it names.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from agents.contracts.codec import Struct
from agents.contracts.trust import Digest, UnixSeconds, Version

ImageVersion = Annotated[str, msgspec.Meta(pattern=r"^\d{1,6}(\.\d{1,6}){0,3}$")]
"""Numbers and dots, so that the boot loader sorts versions as people do."""

DOCUMENT = "release.json"


class ReleaseFile(Struct, frozen=True, kw_only=True):
    """One file of a release. `size` in bytes."""

    sha256: Digest
    size: Annotated[int, msgspec.Meta(ge=1, le=2**40)]


class ImageRelease(Struct, frozen=True, kw_only=True):
    """`root`: the read-only root, as it lies on its partition (`root.img`). `kernel_a`, `kernel_b`: the unified kernel
    images that start it from the one and from the other partition (`kernel-a.efi`, `kernel-b.efi`)."""

    v: Version = 1
    version: ImageVersion
    root: ReleaseFile
    kernel_a: ReleaseFile
    kernel_b: ReleaseFile
    issued: UnixSeconds

    def files(self, slot: str) -> dict[str, ReleaseFile]:
        """Those that an update of that slot (`a`, `b`) needs, by name."""
        return {"root.img": self.root, f"kernel-{slot}.efi": self.kernel_a if slot == "a" else self.kernel_b}
