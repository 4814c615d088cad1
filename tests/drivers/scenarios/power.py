"""Power cuts: what was synced must be there, and a second of recording at most is lost."""

import random
import shutil
import time
from pathlib import Path

from judge.episode import dexumi, info, read, rerun_problem
from devices.boards import PERIOD_S
from machine.image import read_file, read_folder, replay_journal
from machine.powercut import apply

from .bench import ENCODERS, INDEX, Bench, Lab, Outcome

CUTS = 20
MAX_LOSS_S = 1.0
SEED = 20_250_101
# Control of the cuts: a file that has its place on the disk from the start, and a number
# written into it again and again, past the guest's cache, never flushed.
CONTROL = "/control"
CONTROL_BLOCK = 4096
WRITE_CONTROL = f"dd of=/data{CONTROL} bs={CONTROL_BLOCK} count=1 status=none"
COUNT_ON = (
    "sh -c 'n=1; while :; do n=$((n+1)); "
    f"echo $n | {WRITE_CONTROL} conv=sync,notrunc oflag=direct || exit; usleep 20000; done'"
)


def control_of(disk: Path) -> int:
    """The control's number on a disk; 0 without any."""
    return int(read_file(disk, CONTROL).strip("\0\n ") or 0)


def judge_cut(bench: Bench, episode: Path, cut_at: float, label: str) -> list[float]:
    """Each stream must be a prefix of what was sent, up to a second before the cut, and
    the ledger must know it. Returns what was lost of each [s]."""
    samples = read(episode, list(bench.devices))
    ledgers = info(bench.lab.program, episode)["ledger"]
    losses = []
    for stream, board in bench.devices.items():
        numbers = [board.number_of(sample.message) for sample in samples[stream]]
        known = {packet.number: packet for packet in board.packets}
        expect = bench.outcome.expect
        expect(numbers, f"{label}: {stream} is empty")
        expect(set(numbers) <= set(known), f"{label}: {stream} has samples that nobody sent")
        if not numbers or not set(numbers) <= set(known):
            continue
        rising = all(later > earlier for earlier, later in zip(numbers, numbers[1:]))
        expect(rising, f"{label}: {stream} has samples twice or out of order")
        absent = set(range(numbers[0], numbers[-1])) - set(numbers)
        absent = [number for number in absent if known[number].left is not None]
        expect(not absent, f"{label}: {stream} lacks {len(absent)} samples before its end")
        ledger = ledgers.get(stream, {"received": 0, "written": 0, "losses": {}})
        itemised = sum(ledger["losses"].values())
        expect(
            ledger["written"] == len(numbers) and ledger["received"] == len(numbers) + itemised,
            f"{label}: {stream} has {len(numbers)} samples, its ledger says {ledger}",
        )
        loss = cut_at - known[numbers[-1]].due
        losses.append(loss)
        expect(loss <= MAX_LOSS_S + PERIOD_S, f"{label}: {stream} lost its last {loss:.2f} s")
    return losses


def power_cut(lab: Lab, folder: Path) -> Outcome:
    """Power is cut at a random moment of a recording, again and again on the same disk.
    The disk keeps what was flushed, and a random half of what was not; and, judged
    apart, nothing of it. The next boot's recorder recovers the episode by itself."""
    chance = random.Random(SEED)
    bench = Bench(lab, folder, streams=(ENCODERS, INDEX), disk_mb=64)
    expect = bench.outcome.expect
    bench.disk.log = folder / "writes.log"
    boot, worst, whole = (folder / f"{name}.img" for name in ("boot", "worst", "whole"))
    losses = {"half": [], "none": []}
    cuts, controls = [], []
    for number in range(CUTS + 1):
        shutil.copy(bench.disk.path, boot)
        bench.disk.log.unlink(missing_ok=True)
        bench.renew()
        with bench:
            bench.prepare()
            bench.machine.sh(f"echo 1 | {WRITE_CONTROL} conv=sync,fsync")
            bench.record(60)
            if number > 0:
                told = bench.machine.output("record")
                expect(
                    f"recovered /data/session/episode_{number - 1:04}.mcap" in told,
                    f"boot {number}: the recorder did not recover the last episode: {told[-300:]}",
                )
            if number == CUTS:
                break
            bench.machine.background(COUNT_ON, "control")
            time.sleep(chance.uniform(0.5, 4.0))
            cut_at = bench.machine.cut_power()
        name = f"episode_{number:04}.mcap"
        # Only what was flushed.
        shutil.copy(boot, worst)
        apply(bench.disk.log, worst, lambda _: False)
        session = recovered(lab, worst, folder / "worst")
        losses["none"] += judge_cut(bench, session / name, cut_at, f"cut {number}, nothing unflushed kept")
        # All that reached the disk.
        shutil.copy(boot, whole)
        apply(bench.disk.log, whole, lambda _: True)
        replay_journal(whole)
        flushed, written = control_of(worst), control_of(whole)
        expect(1 <= flushed <= written, f"cut {number}: the control has {flushed} flushed, {written} written")
        controls.append((flushed, written))
        # What the next boot sees.
        cut = apply(bench.disk.log, boot, lambda _: chance.random() < 0.5)
        shutil.copy(boot, bench.disk.path)
        session = recovered(lab, boot, folder / "half")
        losses["half"] += judge_cut(bench, session / name, cut_at, f"cut {number}, half kept")
        cuts.append(cut)
        lab.say(
            f"cut {number}: lost at the end {max(losses['none'][-2:]):.2f} s with nothing unflushed kept, "
            f"{max(losses['half'][-2:]):.2f} s with half; control {flushed} of {written} flushed; "
            f"{len(bench.outcome.all_problems())} problems so far"
        )
    problem = rerun_problem(session / name)
    expect(problem is None, f"Rerun: {problem}")
    # Without such, a cut would be no more than the end of a program.
    lost = sum(written > flushed for flushed, written in controls)
    expect(lost >= CUTS // 4, f"only {lost} of {CUTS} cuts lost a write that had reached the disk: {controls}")
    bench.outcome.notes.append(
        f"{lost} of {CUTS} cuts lost writes of the control that had reached the disk, none of them one that was synced"
    )
    for kept, values in losses.items():
        values.sort()
        bench.outcome.notes.append(
            f"{len(cuts)} cuts, {kept} of the unflushed kept: lost at the end {values[0]:.2f} to {values[-1]:.2f} s, "
            f"median {values[len(values) // 2]:.2f} s"
        )
    bench.outcome.notes.append(
        f"{sum(cut.writes for cut in cuts)} writes, {sum(cut.unflushed for cut in cuts)} not flushed at the cut"
    )
    return bench.outcome


def recovered(lab: Lab, disk: Path, target: Path) -> Path:
    """The session on a disk after a power cut, recovered on this host."""
    shutil.rmtree(target, ignore_errors=True)
    replay_journal(disk)
    read_folder(disk, "/session", target)
    status, _, messages = dexumi(lab.program, "recover", target / "session")
    if status != 3:
        raise AssertionError(f"dexumi recover ended with {status}: {messages.strip()}")
    return target / "session"


SCENARIOS = [power_cut]
