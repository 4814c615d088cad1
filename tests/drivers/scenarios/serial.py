"""Serial boards: pulled, renumbered, held by somebody else."""

import time
from pathlib import Path

from judge.stream import Fault

from .bench import ENCODERS, INDEX, THUMB, Bench, Lab, Outcome


def steady(lab: Lab, folder: Path) -> Outcome:
    """Four boards, nothing happens: every packet is in the file."""
    with Bench(lab, folder) as bench:
        bench.prepare()
        bench.record(10)
        status, said = bench.finished()
        for stream in (ENCODERS, THUMB):
            latencies = bench.devices[stream].adapter.latencies_ms
            bench.outcome.expect(
                latencies[-1:] == [1], f"{stream}: latency timer was set to {latencies} ms, expected 1 ms at last"
            )
        bench.judge(bench.fetch() / "episode_0000.mcap")
        overrun = sum(verdict.overrun for verdict in bench.outcome.verdicts)
        expected = 3 if overrun else 0
        bench.outcome.expect(
            status == expected, f"dexumi record ended with {status}, expected {expected}: {said[-300:]}"
        )
    return bench.outcome


def no_settling(lab: Lab, folder: Path) -> Outcome:
    """The episode starts as soon as the ports are open, with what the boards had in
    their buffers."""
    with Bench(lab, folder) as bench:
        bench.prepare()
        bench.record(5, "--settle-s", "0")
        bench.finished()
        bench.judge(bench.fetch() / "episode_0000.mcap")
    return bench.outcome


def unplug(lab: Lab, folder: Path) -> Outcome:
    """Each board is pulled and plugged in again, one after another."""
    with Bench(lab, folder) as bench:
        bench.prepare()
        bench.record(4 + 5 * len(bench.devices))
        time.sleep(2)
        faults = {}
        for stream in bench.devices:
            faults[stream] = [bench.while_unplugged(stream, 1.5)]
            time.sleep(3)
        status, said = bench.finished()
        bench.outcome.expect(status == 3, f"dexumi record ended with {status}: {said[-300:]}")
        bench.judge(bench.fetch() / "episode_0000.mcap", faults)
    return bench.outcome


def renumbered(lab: Lab, folder: Path) -> Outcome:
    """Pulled and plugged in again while the recorder hangs: the port is still open, and
    the kernel gives the board a new number."""
    with Bench(lab, folder) as bench:
        bench.prepare()
        before = bench.device_names()
        bench.record(300)
        time.sleep(3)
        began = time.monotonic()
        bench.machine.send_signal("record", "STOP")
        for stream in (ENCODERS, INDEX):
            bench.devices[stream].unplug()
        time.sleep(1)
        for stream in (ENCODERS, INDEX):
            bench.devices[stream].plug()
            bench.wait_plugged(stream)
        after = bench.device_names()
        bench.machine.send_signal("record", "CONT")
        ended = time.monotonic()
        renamed = [earlier != later for earlier, later in zip(before, after)]
        bench.outcome.expect(sum(renamed) == 2, f"not renumbered: {before}, then {after}")
        bench.outcome.notes.append(f"{' '.join(before)} became {' '.join(after)}")
        time.sleep(4)
        bench.stop()
        faults = {
            stream: [Fault(began, ended, unclear=12, outage=stream in (ENCODERS, INDEX))]
            for stream in bench.devices
        }
        bench.judge(bench.fetch() / "episode_0000.mcap", faults)
    return bench.outcome


def stopped(lab: Lab, folder: Path) -> Outcome:
    """The recorder stands still for 5 s: what the kernel keeps arrives late, the rest is
    lost in the boards' buffers."""
    with Bench(lab, folder) as bench:
        bench.prepare()
        bench.record(15)
        time.sleep(3)
        began = time.monotonic()
        bench.machine.send_signal("record", "STOP")
        time.sleep(5)
        bench.machine.send_signal("record", "CONT")
        fault = [Fault(began, time.monotonic(), unclear=6)]
        bench.finished()
        bench.judge(bench.fetch() / "episode_0000.mcap", {stream: fault for stream in bench.devices})
    return bench.outcome


def busy(lab: Lab, folder: Path) -> Outcome:
    """Another recorder holds a port: the second one says so and ends; and a board that
    comes back into other hands is waited for."""
    with Bench(lab, folder, streams=(ENCODERS, THUMB)) as bench:
        bench.prepare()
        bench.machine.sh(
            "awk -v RS='' '/thumb/ || NR == 1' ORS='\\n\\n' /data/rig.toml >/data/other.toml"
        )
        bench.record(300)
        refused = bench.machine.run(
            "dexumi record --rig /data/other.toml --out /data/other --seconds 1 --reserve-mb 1"
        )
        bench.outcome.expect(
            refused.status != 0 and "busy" in refused.text,
            f"a second recorder on the same port ended with {refused.status}: {refused.text[-300:]}",
        )
        # The other one waits for the board as it is plugged in again.
        began = time.monotonic()
        bench.devices[THUMB].unplug()
        bench.machine.background(
            f"sh -c 'until [ -e {bench.devices[THUMB].link} ]; do :; done; exec dexumi record "
            "--rig /data/other.toml --out /data/other --seconds 3 --settle-s 0 --reserve-mb 1'",
            "other",
        )
        # The first one is stopped for as long as the other one needs to be first.
        bench.machine.send_signal("record", "STOP")
        bench.devices[THUMB].plug()
        bench.machine.wait_for(
            lambda: "recording" in bench.machine.output("other"), "the other one records"
        )
        bench.machine.send_signal("record", "CONT")
        bench.finished("other")
        ended = time.monotonic()
        time.sleep(4)
        status, said = bench.stop()
        bench.outcome.expect(status == 3, f"dexumi record ended with {status}: {said[-300:]}")
        faults = {
            ENCODERS: [Fault(began, ended, unclear=12)],
            THUMB: [Fault(began, ended, unclear=12, outage=True)],
        }
        bench.judge(bench.fetch() / "episode_0000.mcap", faults)
    return bench.outcome


SCENARIOS = [steady, no_settling, unplug, renumbered, stopped, busy]
