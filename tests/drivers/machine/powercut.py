"""A disk after a power cut.

QEMU notes every write and every flush of the guest (its block driver `blklogwrites`,
in the format of Linux' dm-log-writes). A disk with a volatile cache guarantees, at a
power cut, what was written before the last finished flush; of what came later it may
have kept any part. So the disk is made again from its state at boot: everything up
to the last flush, and of the rest what `survives` says.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512
MAGIC = 0x6A736677736872
FLUSH, FUA, DISCARD = 1, 2, 4
HEAD = struct.Struct("<QQQQ")


@dataclass
class Write:
    """One entry of the log."""

    sector: int
    sectors: int
    flags: int
    # Where its data is in the log [byte].
    at: int


def entries(log: bytes) -> list[Write]:
    """All whole entries of a log that may end anywhere."""
    if len(log) < SECTOR or struct.unpack_from("<Q", log)[0] != MAGIC:
        return []
    found = []
    at = SECTOR
    while at + SECTOR <= len(log):
        sector, sectors, flags, _ = HEAD.unpack_from(log, at)
        if sectors == 0 and flags == 0:
            break
        data = at + SECTOR
        at = data + (0 if flags & DISCARD else sectors * SECTOR)
        if at > len(log):
            break
        found.append(Write(sector, sectors, flags, data))
    return found


def noted(log: bytes) -> int:
    """How many entries the log's head knows; it is renewed at each flush."""
    return struct.unpack_from("<QQQ", log)[2] if len(log) >= 24 else 0


@dataclass
class Cut:
    """What the power cut left."""

    writes: int
    # Written after the last flush, and how many of these survived.
    unflushed: int
    survived: int


def apply(log_path: Path, disk: Path, survives) -> Cut:
    """Brings a disk from its state at boot to one after the power cut.
    `survives(write)` decides on each write that no flush covers."""
    log = log_path.read_bytes()
    writes = entries(log)
    if len(writes) < noted(log):
        raise RuntimeError(
            f"{log_path}: {len(writes)} whole entries, its head knows {noted(log)}; the cut fell into a hole"
        )
    last_flush = max((at for at, write in enumerate(writes) if write.flags & FLUSH), default=-1)
    survived = 0
    with open(disk, "r+b") as target:
        for at, write in enumerate(writes):
            if write.sectors == 0:
                continue
            if at > last_flush and not write.flags & FUA:
                if not survives(write):
                    continue
                survived += 1
            target.seek(write.sector * SECTOR)
            length = write.sectors * SECTOR
            target.write(bytes(length) if write.flags & DISCARD else log[write.at : write.at + length])
    return Cut(len(writes), sum(write.sectors > 0 for write in writes[last_flush + 1 :]), survived)
