"""The drop folders of a site: where each stream's files are dropped, and how their columns are to be read.

Belongs here: reading what the lab says. Not here: looking into the folders (watch.py), or sending a file (take.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from homelab_platform.errors import HomelabError

FLOWS = "flows"
"""The folder of a site that holds what each flow is told, one file a stream."""
DROP = "drop"
FIELDS = frozenset({"ts", "device", "sensor", "value", "site", "unit", "quality"})
"""What a column may stand for; a column under another name is a sensor of that name."""


@dataclass(frozen=True)
class DropFolder:
    """The folder of one stream. `columns` say what theirs mean, `device` is the stream's only one, if it has one."""

    stream: str
    folder: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    format: str = ""
    tz: str | None = None  # zone of times without one


def folder_of(root: Path, stream: str, said: str) -> Path:
    """The folder that a stream's files are dropped in; a relative one lies below the site's drop folder.

    Raises HomelabError for one that leads out of it.
    """
    path = Path(said)
    if ".." in path.parts:
        raise HomelabError.of(f"flow/{stream}", f"{said} leads out of the drop folder", "Name it without `..`.")
    if path.is_absolute():
        return path
    parts = path.parts[1:] if path.parts[:1] == (DROP,) else path.parts
    return (root / DROP).joinpath(*(parts or (stream,)))


def drop_folders(root: Path) -> list[DropFolder]:
    """The drop folders of the flows that were applied on the site in `root`."""
    folders = []
    for file in sorted((root / FLOWS).glob("*.json")):
        try:
            document = orjson.loads(file.read_bytes())["document"]
        except (OSError, ValueError, KeyError):
            continue  # being written, or of another version: the next look sees it
        if document.get("source") == "files":
            folders.append(_folder(root, document))
    return folders


def _folder(root: Path, document: Mapping[str, object]) -> DropFolder:
    raw = document.get("source_settings")
    settings: Mapping[str, object] = raw if isinstance(raw, Mapping) else {}
    columns = settings.get("columns")
    devices = document.get("devices")
    names = [str(name) for name in devices] if isinstance(devices, Iterable) else []
    stream = str(document["name"])
    return DropFolder(
        stream,
        folder_of(root, stream, str(settings.get("path") or stream)),
        {str(theirs): str(ours) for theirs, ours in columns.items()} if isinstance(columns, Mapping) else {},
        names[0] if len(names) == 1 else "",
        str(settings.get("format") or ""),
        str(document["tz"]) if document.get("tz") else None,
    )


def mapping_of(folder: DropFolder, columns: Iterable[str]) -> dict[str, object]:
    """What the lab says of a file with these columns, in the form of readings/decode/mapping.py."""
    fields: dict[str, object] = {ours: {"column": theirs} for theirs, ours in folder.columns.items() if ours in FIELDS}
    measured = {theirs: ours for theirs, ours in folder.columns.items() if ours not in FIELDS}
    if len(measured) == 1 and "value" not in fields:
        ((theirs, ours),) = measured.items()
        fields |= {"sensor": {"const": ours}, "value": {"column": theirs}}
    elif measured:
        fields["melt"] = list(measured)
        names = {theirs: ours for theirs, ours in measured.items() if theirs != ours}
        if names:
            fields["names"] = names
    if folder.device and "device" not in {*fields, *columns}:
        fields["device"] = {"const": folder.device}
    return fields
