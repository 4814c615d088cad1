"""The guest's wall clock is set while an episode runs."""

import time
from pathlib import Path

from .bench import ENCODERS, INDEX, Bench, Lab, Outcome

HOUR_S = 3600


def clock_step(lab: Lab, folder: Path) -> Outcome:
    """The wall clock jumps by an hour, forwards, then back by two: no sample and no time
    stamp may follow it."""
    with Bench(lab, folder, streams=(ENCODERS, INDEX)) as bench:
        bench.prepare()
        bench.record(12)
        for shift_s in (HOUR_S, -2 * HOUR_S):
            time.sleep(3)
            bench.machine.sh(f"date -s @$(($(date +%s) + {shift_s}))")
        status, said = bench.finished()
        report = bench.judge(bench.fetch() / "episode_0000.mcap")
        overrun = sum(verdict.overrun for verdict in bench.outcome.verdicts)
        expected = 3 if overrun else 0
        bench.outcome.expect(
            status == expected, f"dexumi record ended with {status}, expected {expected}: {said[-300:]}"
        )
        bench.outcome.expect(
            abs(report["duration_s"] - 12) < 1, f"the episode is {report['duration_s']:.1f} s long, expected 12"
        )
    return bench.outcome


SCENARIOS = [clock_step]
