"""Where each key and value of the lab stands in its file, so that the last error message still knows it.

Belongs here: the look-up by path. Positions are gathered in yaml_reader.py and merged in load.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from homelab_platform.errors import Position

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Mark:
    """Where one node stands: `key` and `value` are (line, column), `raw` the scalar as typed."""

    file: str
    key: tuple[int, int]
    value: tuple[int, int]
    raw: str | None = None


@dataclass
class Positions:
    """Marks by path, such as `("workloads", "trino", "memory")`."""

    file: str
    marks: dict[Path, Mark] = field(default_factory=dict)

    def nearest(self, path: Path) -> tuple[Path, Mark | None]:
        """The longest beginning of `path` that stands in the file, with its mark."""
        while path:
            mark = self.marks.get(path) or self._in_list(path)
            if mark is not None:
                return path, mark
            path = path[:-1]
        return (), self.marks.get(())

    def _in_list(self, path: Path) -> Mark | None:
        """The mark of a name that stands in a list where names are keys: `services: [pihole, chrony]`."""
        name, index = path[-1], 0
        while isinstance(name, str) and (mark := self.marks.get((*path[:-1], index))) is not None:
            if mark.raw == name:
                return mark
            index += 1
        return None

    def at(self, *path: str | int) -> Position:
        """Where the value stands; of an unwritten path the scalar in its stead, or its ancestor's key."""
        found, mark = self.nearest(path)
        if mark is None:
            return Position(self.file, 1, 1)
        line, column = mark.value if found == path or mark.raw else mark.key
        return Position(mark.file, line, column)

    def key(self, *path: str | int) -> Position:
        """Where the key stands (of a list item: its first character), or the key of the nearest ancestor."""
        _, mark = self.nearest(path)
        return Position(mark.file, *mark.key) if mark else Position(self.file, 1, 1)

    def raw(self, *path: str | int) -> str | None:
        """The scalar as it was typed, before it became a number or a boolean; None if it is not a written scalar."""
        mark = self.marks.get(path)
        return mark.raw if mark else None

    def written(self, *path: str | int) -> bool:
        """Whether this very path stands in the file."""
        return path in self.marks

    def __iter__(self) -> Iterator[Path]:
        return iter(self.marks)
