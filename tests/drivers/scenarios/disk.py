"""Disks that fail, that are slow, that fill up."""

import time
from pathlib import Path

from devices.boards import PERIOD_S

from .bench import ENCODERS, INDEX, Bench, Lab, Outcome

STREAMS = (ENCODERS, INDEX)
# A disk of the device mapper over the data disk, as its table says.
# Without the device mapper's rules for udev, which the guest does not have.
CREATE = "size=$(blockdev --getsz /dev/vdb) && echo 0 $size {} | dmsetup create --noudevsync --noudevrules data"
MOUNT = " && mount /dev/dm-0 /data"
# Replaced below a mounted file system: without freezing it, which would write.
REPLACE = (
    "size=$(blockdev --getsz /dev/vdb) && echo 0 $size {} | dmsetup load data && "
    "dmsetup suspend --nolockfs {} data && dmsetup resume --noudevsync --noudevrules data"
)
PLAIN = "linear /dev/vdb 0"
FAILING = "flakey /dev/vdb 0 0 3600 1 error_writes"
RELEASE = "umount /data; dmsetup remove --noudevsync --noudevrules --retry data"


def replace(bench: Bench, table: str, flush: bool = True) -> None:
    bench.machine.sh(REPLACE.format(table, "" if flush else "--noflush"))


def broken_off(bench: Bench, faulted: float) -> None:
    """The recorder ended with an error; what it wrote before the fault is there."""
    status, said = bench.finished()
    bench.outcome.expect(status == 1, f"dexumi record ended with {status}: {said[-300:]}")
    bench.outcome.expect("recover" in said, f"the recorder does not say what to do: {said[-300:]}")
    session = bench.fetch()
    bench.recover(session)
    bench.judge(session / "episode_0000.mcap", ledger_may_lag=round(1.5 / PERIOD_S))
    for verdict in bench.outcome.verdicts:
        loss = faulted - verdict.last_due
        bench.outcome.notes.append(f"{verdict.stream}: the file ends {loss:.2f} s before the fault")
        bench.outcome.expect(loss <= 1.0, f"{verdict.stream}: lost {loss:.2f} s before the fault")


def write_error(lab: Lab, folder: Path) -> Outcome:
    """Every write fails from one moment on (dm-flakey)."""
    with Bench(lab, folder, streams=STREAMS) as bench:
        bench.prepare(CREATE.format(PLAIN) + MOUNT)
        bench.record(15)
        time.sleep(5)
        faulted = time.monotonic()
        replace(bench, FAILING)
        # Then the disk is sound again, and whoever holds the session looks after it.
        time.sleep(4)
        replace(bench, PLAIN)
        bench.machine.run(RELEASE)
        broken_off(bench, faulted)
    return bench.outcome


def slow_disk(lab: Lab, folder: Path) -> Outcome:
    """Every write takes 0.7 s longer (dm-delay)."""
    with Bench(lab, folder, streams=STREAMS) as bench:
        bench.prepare(CREATE.format(PLAIN) + MOUNT)
        bench.record(15)
        time.sleep(3)
        replace(bench, "delay /dev/vdb 0 0 /dev/vdb 0 700")
        time.sleep(8)
        replace(bench, PLAIN)
        status, said = bench.finished()
        bench.outcome.expect(status == 0, f"dexumi record ended with {status}: {said[-300:]}")
        bench.judge(bench.fetch() / "episode_0000.mcap")
    return bench.outcome


def stalled_disk(lab: Lab, folder: Path) -> Outcome:
    """The disk answers nothing for 5 s."""
    with Bench(lab, folder, streams=STREAMS) as bench:
        bench.prepare(CREATE.format(PLAIN) + MOUNT)
        bench.record(15)
        time.sleep(3)
        bench.machine.sh("dmsetup suspend --nolockfs --noflush data")
        time.sleep(5)
        bench.machine.sh("dmsetup resume --noudevsync --noudevrules data")
        status, said = bench.finished()
        bench.outcome.expect(status == 0, f"dexumi record ended with {status}: {said[-300:]}")
        bench.judge(bench.fetch() / "episode_0000.mcap")
    return bench.outcome


def reserve(lab: Lab, folder: Path) -> Outcome:
    """Somebody else fills the disk down to the reserve: the episode is ended, complete."""
    with Bench(lab, folder, streams=STREAMS, disk_mb=64) as bench:
        bench.prepare()
        bench.record(30, reserve_mb=20)
        time.sleep(4)
        bench.machine.sh("dd if=/dev/zero of=/data/filler bs=1M count=44")
        status, said = bench.finished()
        bench.outcome.expect(status == 3, f"dexumi record ended with {status}: {said[-300:]}")
        bench.outcome.expect("reserve" in said, f"no word of the reserve: {said[-300:]}")
        bench.judge(bench.fetch() / "episode_0000.mcap")
    return bench.outcome


def full_disk(lab: Lab, folder: Path) -> Outcome:
    """The disk fills up to the last byte between two looks at its reserve."""
    with Bench(lab, folder, streams=STREAMS, disk_mb=64) as bench:
        bench.prepare()
        bench.record(30, reserve_mb=0)
        time.sleep(4)
        bench.machine.run("dd if=/dev/zero of=/data/filler bs=64k")
        broken_off(bench, time.monotonic())
    return bench.outcome


SCENARIOS = [write_error, slow_disk, stalled_disk, reserve, full_disk]
