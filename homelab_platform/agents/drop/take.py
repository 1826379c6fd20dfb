"""Taking dropped files: `python -m homelab_platform.agents.drop.take --site ROOT --stream NAME FILE …`.

Belongs here: what becomes of each file. It goes unchanged into the raw bucket, with a mapping of its columns, and to
`done/` only after that; one that cannot be read as a whole goes to `refused/`, with the reason beside it. A file that
could not be sent stays. Killed in between, the next look finds the object there and moves the file.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from homelab_platform.agents.drop.folders import DropFolder, drop_folders, mapping_of
from homelab_platform.errors import HomelabError
from homelab_platform.readings.decode.mapping import Mapping
from homelab_platform.readings.sources.files import describe, put_files
from homelab_platform.readings.sources.sampling import CannotRead, take_sample
from homelab_platform.tools.endpoints import Lakehouse

DONE, REFUSED = "done", "refused"
_PIECE = 1 << 20


def take(lakehouse: Lakehouse, folder: DropFolder, file: Path) -> str:
    """Take one file; returns what became of it in a line. Raises HomelabError when the bucket does not take it."""
    try:
        sample = take_sample(file)
        if folder.format and folder.format not in ("any", sample.format):
            raise CannotRead(f"is {sample.format}, and the stream takes {folder.format}")
        said = mapping_of(folder, sample.columns) if sample.format != "ndjson" or folder.columns else {}
        mapping = Mapping.parse(said) if said else None
        describe([file], mapping=mapping, zone=folder.tz)
    except (CannotRead, HomelabError) as error:
        reason = error.problems[0].what if isinstance(error, HomelabError) else str(error)
        return f"{file.name}: refused, it {reason}; {put_away(file, REFUSED, reason)}"
    except FileNotFoundError:
        return f"{file.name}: gone before it was taken"
    (sent,) = put_files(lakehouse, [file], stream=folder.stream, mapping=mapping, zone=folder.tz)
    put_away(file, DONE)
    return f"{file.name}: {'was in the bucket already' if sent.existed else 'taken'}, {sent.size:,} bytes as {sent.key}"


def put_away(file: Path, folder: str, reason: str = "") -> Path:
    """Move a file into a folder beside it, with the reason, if any, in a text file. Nothing there is overwritten."""
    goal = file.parent / folder
    goal.mkdir(exist_ok=True)
    target = goal / file.name
    if target.exists():
        own = _digest(file)
        if _digest(target) != own:
            target = goal / f"{file.stem}-{own[:12]}{file.suffix}"
    if reason:
        (goal / f"{target.name}.reason.txt").write_text(f"{file.name} {reason}\n", encoding="utf-8")
    file.replace(target)
    return target


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        for piece in iter(lambda: stream.read(_PIECE), b""):
            digest.update(piece)
    return digest.hexdigest()


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit codes: 0 all files have been dealt with, 1 some stay because the bucket did not take them."""
    parser = argparse.ArgumentParser(prog="homelab-drop", description="Dropped files into the raw bucket.")
    parser.add_argument("--site", type=Path, required=True, help="the site's data folder")
    parser.add_argument("--stream", required=True, help="the stream that the files belong to")
    parser.add_argument("files", type=Path, nargs="+")
    options = parser.parse_args(argv)
    from homelab_platform.servers.site.site import open_site

    folder = next((found for found in drop_folders(options.site) if found.stream == options.stream), None)
    if folder is None:
        log(f"the lab has no stream {options.stream} of files any more")
        return 1
    try:
        lakehouse = open_site(options.site).lakehouse
        for file in options.files:
            log(take(lakehouse, folder, file))
    except HomelabError as error:
        log(f"files of {options.stream} stay where they are: {error}")
        return 1
    return 0


def log(text: str) -> None:
    """One line to the log of who watches."""
    print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} drop: {text}", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
