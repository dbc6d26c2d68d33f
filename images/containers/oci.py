"""Writes container images without a container engine: layers, config, manifest, and an OCI image layout.

The same tree gives the same bytes: entries by name, owner 0, one time stamp, no names of users, gzip without time.
Formats: OCI Image Format Specification 1.0 (layout, manifest, config); the tar is what `ctr images import` reads.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "1735689600"))
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
PLAIN_LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class Layer:
    """A layer file: a tar, gzip'ed unless `media_type` says otherwise; its digest and that of the tar within, as
    `sha256:...`."""

    path: Path
    digest: str
    diff_id: str
    media_type: str = LAYER


@dataclass(frozen=True)
class Image:
    """An image to be written. `config`: the `config` object of an OCI image config (Entrypoint, Env, User...)."""

    name: str
    layers: Sequence[Layer]
    config: dict[str, object] = field(default_factory=dict)


def write_layer(tree: Path, target: Path) -> Layer:
    """Packs a tree; the file appears by rename."""
    new = target.with_name(target.name + ".new")
    diff = hashlib.sha256()
    with (
        new.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
        tarfile.open(fileobj=_Tee(packed, diff), mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in _sorted(tree):
            _add(tar, path, str(path.relative_to(tree)))
    new.replace(target)
    return Layer(target, digest_of(target), f"sha256:{diff.hexdigest()}")


def write_plain_layer(tree: Path, target: Path) -> Layer:
    """Packs a tree without compression: for large programs that never leave this machine."""
    new = target.with_name(target.name + ".new")
    with tarfile.open(new, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in _sorted(tree):
            _add(tar, path, str(path.relative_to(tree)))
    new.replace(target)
    digest = digest_of(target)
    return Layer(target, digest, digest, PLAIN_LAYER)


def read_layer(target: Path) -> Layer:
    """A layer that was written before."""
    diff = hashlib.sha256()
    with gzip.open(target, "rb") as packed:
        while chunk := packed.read(1 << 20):
            diff.update(chunk)
    return Layer(target, digest_of(target), f"sha256:{diff.hexdigest()}")


class _Tee(io.RawIOBase):
    def __init__(self, target: gzip.GzipFile, digest: hashlib._Hash) -> None:
        self._target, self._digest = target, digest

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        chunk = bytes(data)  # type: ignore[call-overload]
        self._digest.update(chunk)
        return self._target.write(chunk)


def _sorted(tree: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(tree):
        folders.sort()
        links = [name for name in folders if Path(folder, name).is_symlink()]
        folders[:] = [name for name in folders if name not in links]
        if Path(folder) != tree:
            yield Path(folder)
        yield from (Path(folder, name) for name in sorted(files + links))


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    status = path.lstat()
    entry = tarfile.TarInfo(name)
    entry.mtime = EPOCH
    entry.mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        entry.type, entry.linkname = tarfile.SYMTYPE, str(path.readlink())
        tar.addfile(entry)
    elif stat.S_ISDIR(status.st_mode):
        entry.type = tarfile.DIRTYPE
        tar.addfile(entry)
    elif stat.S_ISREG(status.st_mode):
        entry.size = status.st_size
        with path.open("rb") as content:
            tar.addfile(entry, content)


def digest_of(path: Path) -> str:
    """`sha256:...` of a file."""
    with path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def write_layout(images: Sequence[Image], target: Path, architecture: str) -> None:
    """An OCI image layout of all images, as one tar; it appears by rename."""
    blobs: dict[str, bytes | Path] = {}
    entries = []
    for image in images:
        manifest = _manifest(image, architecture, blobs)
        tag = image.name.rpartition(":")[2]
        names = {"io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": tag}
        entries.append({**_store(manifest, MANIFEST, blobs), "annotations": names})
    files: dict[str, bytes | Path] = {
        "index.json": _json({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}),
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        **{f"blobs/sha256/{digest.removeprefix('sha256:')}": content for digest, content in blobs.items()},
    }
    new = target.with_name(target.name + ".new")
    with tarfile.open(new, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.mtime = EPOCH
            if isinstance(content, Path):
                entry.size = content.stat().st_size
                with content.open("rb") as stream:
                    tar.addfile(entry, stream)
            else:
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    new.replace(target)


def _manifest(image: Image, architecture: str, blobs: dict[str, bytes | Path]) -> bytes:
    config = _json(
        {
            "architecture": architecture,
            "os": "linux",
            "config": image.config,
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in image.layers]},
        }
    )
    layers = []
    for layer in image.layers:
        blobs[layer.digest] = layer.path
        layers.append({"mediaType": layer.media_type, "digest": layer.digest, "size": layer.path.stat().st_size})
    described = _store(config, CONFIG, blobs)
    return _json({"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": layers})


def _store(content: bytes, media_type: str, blobs: dict[str, bytes | Path]) -> dict[str, object]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    blobs[digest] = content
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
