"""Container images made on the spot: no registry, no network, only what this machine has.

Belongs here: layers out of files, folders and Debian packages, and the archive that containerd imports. Not here:
which images a test wants, and bringing them to the nodes (cluster.py).
Format: https://github.com/opencontainers/image-spec (image-layout.md, config.md, layer.md).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
Filter = Callable[[tarfile.TarInfo], tarfile.TarInfo | None]


@dataclass(frozen=True)
class Files:
    """A layer: what lies where in the image. A value is a file or folder of this machine, or a file's text."""

    content: Mapping[str, Path | str]
    mode: int = 0o644
    """Of files that are given as text."""


Layer = Files | Path
Made = tuple[str, Path]
"""A layer's digest, and the file that it lies in."""


@dataclass(frozen=True)
class Image:
    """An image to make. `name` as pods say it (`localhost/NAME:TAG`, with imagePullPolicy: Never)."""

    name: str
    layers: tuple[Layer, ...]
    """From the bottom up: Files, or a folder that becomes the root of the file system."""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    folder: str = "/"


def make_image(image: Image, target: Path) -> Path:
    """Write the image into the folder `target` as an archive (OCI image layout in a tar); returns the file.

    The same content gives the same layers, byte for byte: a node keeps a layer that it knows.
    """
    return make_images([image], target)


def make_images(images: Sequence[Image], target: Path) -> Path:
    """Write several images into one archive, in which a layer that they share is but once; returns the file."""
    target.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256("\n".join(image.name for image in images).encode()).hexdigest()[:12]
    known: list[tuple[Layer, Made]] = []
    for layer in (layer for image in images for layer in image.layers):
        if all(layer != other for other, _ in known):
            known.append((layer, _layer(layer, target / f".{name}.{len(known)}")))
    archive = target / f"{name}.tar"
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as out:
        heads = [
            _describe(out, image, [next(m for o, m in known if o == layer) for layer in image.layers])
            for image in images
        ]
        _add(out, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(out, "index.json", _json({"schemaVersion": 2, "manifests": heads}))
        for digest, file in dict(made for _, made in known).items():
            out.add(file, _blob(digest), filter=_plain)
    for _, (_, file) in known:
        file.unlink(missing_ok=True)
    return archive


def _describe(out: tarfile.TarFile, image: Image, layers: Sequence[Made]) -> dict[str, Any]:
    """Add an image's settings and manifest to the archive; returns its line in the archive's index."""
    config = _json(_config(image, [digest for digest, _ in layers]))
    described = [_descriptor("layer.v1.tar", digest, file.stat().st_size) for digest, file in layers]
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("config.v1+json", _digest(config), len(config)),
            "layers": described,
        }
    )
    for content in (config, manifest):
        _add(out, _blob(_digest(content)), content)
    head = _descriptor("manifest.v1+json", _digest(manifest), len(manifest))
    return {**head, "annotations": {"io.containerd.image.name": image.name}}


def _config(image: Image, layers: Iterable[str]) -> dict[str, Any]:
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    environment = {"PATH": path} | dict(image.environment)
    return {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Env": [f"{name}={value}" for name, value in environment.items()],
            "Entrypoint": list(image.entrypoint),
            "Cmd": list(image.command),
            "User": image.user,
            "WorkingDir": image.folder,
        },
        "rootfs": {"type": "layers", "diff_ids": list(layers)},
    }


def _layer(layer: Layer, file: Path) -> Made:
    """Write one layer; its digest and its file."""
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as out:
        if isinstance(layer, Path):
            _add_tree(out, layer, "")
        else:
            for name, content in sorted(layer.content.items()):
                if isinstance(content, str):
                    _add(out, name.lstrip("/"), content.encode(), layer.mode)
                else:
                    _add_tree(out, content, name.strip("/"))
    with file.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}", file


def _add_tree(out: tarfile.TarFile, source: Path, name: str) -> None:
    """Add a file, or a folder with what is in it, in an order that is always the same."""
    if source.is_symlink() or not source.is_dir():
        out.add(source, name or source.name, recursive=False, filter=_plain)
        return
    if name:
        out.add(source, name, recursive=False, filter=_plain)
    for entry in sorted(os.scandir(source), key=lambda found: found.name):
        if entry.name == "__pycache__":
            continue
        inner = f"{name}/{entry.name}" if name else entry.name
        if entry.is_dir(follow_symlinks=False):
            _add_tree(out, Path(entry.path), inner)
        elif _is_whiteout(entry):
            _add(out, f"{name}/.wh.{entry.name}".lstrip("/"), b"")
        else:
            out.add(entry.path, inner, recursive=False, filter=_plain)


def _is_whiteout(entry: os.DirEntry[str]) -> bool:
    """Whether this is how an overlay says that a file of the layer below is gone (a character device 0:0)."""
    status = entry.stat(follow_symlinks=False)
    return status.st_mode & 0o170000 == 0o020000 and status.st_rdev == 0


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Nothing of this machine or this moment: no time, no names of users; sockets and devices are left out."""
    if not (info.isreg() or info.isdir() or info.issym() or info.islnk()):
        return None
    info.mtime = 0
    info.uname = info.gname = ""
    return info


def _add(out: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    out.addfile(info, io.BytesIO(content))


def _descriptor(kind: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest, "size": size}


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(content: object) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
