"""Disks in memory that misbehave: cut off, counterfeit, damaged."""

from __future__ import annotations

from random import Random

SECTOR = 512


class PowerCut(BaseException):
    """The disk was pulled out, or the process was killed."""


class MemoryMedium:
    """A disk that works. `written` is what survives a power cut for sure, `pending` what a sync would bring there."""

    def __init__(self, size: int, filling: bytes = b"\0") -> None:
        self.path, self.size, self.sector = "/dev/fake", size, SECTOR
        self.written = bytearray(filling * (size // len(filling) + 1))[:size]
        self.pending: list[tuple[int, bytes]] = []

    def write_at(self, offset: int, data: memoryview) -> None:
        assert offset % SECTOR == 0 and len(data) % SECTOR == 0 and offset + len(data) <= self.size
        self.pending.append((offset, bytes(data)))

    def read_at(self, offset: int, into: memoryview) -> None:
        assert not self.pending, "reads what may still be in memory only"
        into[:] = self.written[offset : offset + len(into)]

    def sync(self) -> None:
        for offset, data in self.pending:
            self._store(offset, data)
        self.pending.clear()

    def _store(self, offset: int, data: bytes) -> None:
        self.written[offset : offset + len(data)] = data


class CutMedium(MemoryMedium):
    """Loses power at the operation `cut`: of what was not synced, any sectors may be there and any not."""

    def __init__(self, size: int, cut: int, seed: int) -> None:
        super().__init__(size, b"old data of somebody")
        self.cut, self.random, self.operations = cut, Random(seed), 0

    def _count(self) -> None:
        if self.operations == self.cut:
            for offset, data in self.pending:
                for start in range(0, len(data), SECTOR):
                    if self.random.random() < 0.5:
                        self._store(offset + start, data[start : start + SECTOR])
            raise PowerCut
        self.operations += 1

    def write_at(self, offset: int, data: memoryview) -> None:
        super().write_at(offset, data)
        self._count()

    def read_at(self, offset: int, into: memoryview) -> None:
        super().read_at(offset, into)
        self._count()

    def sync(self) -> None:
        self._count()
        super().sync()


class CounterfeitMedium(MemoryMedium):
    """Says `size` and has `real` bytes: what is beyond goes round to the beginning, or is dropped."""

    def __init__(self, size: int, real: int, *, wraps: bool) -> None:
        super().__init__(real)
        self.size, self.real, self.wraps = size, real, wraps

    def write_at(self, offset: int, data: memoryview) -> None:
        assert offset + len(data) <= self.size
        self.pending.append((offset, bytes(data)))

    def _store(self, offset: int, data: bytes) -> None:
        for start in range(0, len(data), SECTOR):
            at = offset + start
            if at < self.real or self.wraps:
                super()._store(at % self.real, data[start : start + SECTOR])

    def read_at(self, offset: int, into: memoryview) -> None:
        for start in range(0, len(into), SECTOR):
            at = offset + start
            known = at < self.real or self.wraps
            into[start : start + SECTOR] = self.written[at % self.real :][:SECTOR] if known else bytes(SECTOR)


class SparseCounterfeit:
    """As CounterfeitMedium that goes round, for sizes that no memory holds: only what was written is kept."""

    def __init__(self, size: int, real: int) -> None:
        self.path, self.size, self.sector, self.real = "/dev/fake", size, SECTOR, real
        self.sectors: dict[int, bytes] = {}
        self.writes = 0

    def write_at(self, offset: int, data: memoryview) -> None:
        assert offset + len(data) <= self.size
        self.writes += 1
        for start in range(0, len(data), SECTOR):
            self.sectors[(offset + start) % self.real] = bytes(data[start : start + SECTOR])

    def read_at(self, offset: int, into: memoryview) -> None:
        for start in range(0, len(into), SECTOR):
            into[start : start + SECTOR] = self.sectors.get((offset + start) % self.real, bytes(SECTOR))

    def sync(self) -> None:
        pass


class DamagedMedium(MemoryMedium):
    """One bit at `place` is not kept."""

    def __init__(self, size: int, place: int) -> None:
        super().__init__(size)
        self.place = place

    def _store(self, offset: int, data: bytes) -> None:
        super()._store(offset, data)
        if offset <= self.place < offset + len(data):
            self.written[self.place] ^= 1
