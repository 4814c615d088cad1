#!/usr/bin/env python3
"""Runs the recorder against the kernel's own drivers, in a virtual machine.

    run.py [--only NAME]... [--list] [--keep] [--rerun] [--program PATH]

Exit status: 0 all agree, 1 something does not, 2 the machine cannot be had.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from machine.image import Modules, build_initrd, build_system  # noqa: E402
from machine.provision import ProvisionError, cache_folder, provide  # noqa: E402

# Read episodes without a line of dexumi's code.
JUDGE_PACKAGES = {"mcap": "mcap", "mcap_protobuf": "mcap-protobuf-support"}
# On demand: 170 MB, 800 MB on disk.
RERUN_PACKAGE = {"rerun_cli": "rerun-sdk"}


def say(text: str) -> None:
    print(f"drivers: {text}", file=sys.stderr, flush=True)


def with_judge() -> None:
    """Goes on in a Python that has the judge's packages, where that can be had."""
    wanted = JUDGE_PACKAGES | (RERUN_PACKAGE if "--rerun" in sys.argv else {})
    if all(find_spec(module) for module in wanted):
        return
    if os.environ.get("DEXUMI_VM_VENV"):
        return  # this is that Python already
    venv = cache_folder() / "venv"
    python = venv / "bin/python"
    packages = ", ".join(wanted.values())
    try:
        if not python.exists():
            say(f"making a Python environment with {packages} in {venv}")
            subprocess.run([sys.executable, "-m", "venv", venv], check=True, stdout=sys.stderr)
        check = f"import importlib.util as u; assert all(map(u.find_spec, {list(wanted)}))"
        if subprocess.run([python, "-c", check], capture_output=True, check=False).returncode != 0:
            subprocess.run(
                [python, "-m", "pip", "install", "--quiet", *wanted.values()], check=True, stdout=sys.stderr
            )
    except (OSError, subprocess.CalledProcessError) as error:
        say(f"no environment with {packages} ({error}): contents are not compared")
        return
    os.execve(python, [str(python), *sys.argv], dict(os.environ, DEXUMI_VM_VENV="1"))


def row(columns) -> str:
    widths = [17, 24, 6, 8, 7, 10, 9, 7]
    return "  ".join(f"{str(column):{width}}" for column, width in zip(columns, widths)).rstrip()


def show(name: str, outcome, seconds: float) -> None:
    agrees = "yes" if not outcome.all_problems() else "NO"
    for number, verdict in enumerate(outcome.verdicts):
        last = number == len(outcome.verdicts) - 1
        print(row([
            name if number == 0 else "", verdict.stream, verdict.sent, verdict.written,
            verdict.absent + verdict.unpowered, verdict.itemised,
            agrees if last else ("yes" if not verdict.problems else "NO"),
            f"{seconds:.0f}" if last else "",
        ]))
    if not outcome.verdicts:
        print(row([name, "", "", "", "", "", agrees, f"{seconds:.0f}"]))
    for verdict in outcome.verdicts:
        if verdict.swapped:
            print(f"    {verdict.stream}: {verdict.swapped} handed over out of order by the kernel, in order in the file")
        if verdict.unbuffered:
            print(f"    {verdict.stream}: {verdict.unbuffered} found no buffer in the kernel, as the ledger says")
        if verdict.back_s:
            back = ", ".join(f"{seconds:.1f} s" for seconds in verdict.back_s)
            print(f"    {verdict.stream}: in the file again {back} after the fault")
    for note in outcome.notes:
        print(f"    {note}")
    for problem in outcome.all_problems():
        print(f"    PROBLEM: {problem}")
    sys.stdout.flush()


def main() -> int:
    with_judge()
    from scenarios import SCENARIOS
    from scenarios.bench import Lab, Outcome

    scenarios = {scenario.__name__.replace("_", "-"): scenario for scenario in SCENARIOS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="NAME", choices=list(scenarios),
                        help="run this one (may be repeated)")
    parser.add_argument("--list", action="store_true", help="list the scenarios and end")
    parser.add_argument("--keep", action="store_true", help="keep disks, consoles and episodes")
    parser.add_argument("--rerun", action="store_true",
                        help="read each episode with Rerun too (installs rerun-sdk, 170 MB, on first use)")
    parser.add_argument("--program", type=Path, default=HERE.parents[1] / "target/release/dexumi")
    options = parser.parse_args()
    if options.list:
        for name, scenario in scenarios.items():
            print(f"{name:18}{' '.join(scenario.__doc__.split())}")
        return 0
    if not options.program.exists():
        say(f"no program at {options.program}: run make build")
        return 2
    folder = Path(tempfile.mkdtemp(prefix="dexumi-vm-"))
    try:
        provisions = provide(say)
        modules = Modules(provisions.modules)
        lab = Lab(provisions, folder / "system.img", folder / "initrd.img", options.program, folder, say)
        build_initrd(provisions, modules, lab.initrd)
        build_system(provisions, modules, options.program, lab.system)
    except (ProvisionError, OSError) as error:
        say(str(error))
        shutil.rmtree(folder)
        return 2
    failed = []
    began = time.monotonic()
    print(row(["scenario", "stream", "sent", "written", "absent", "ledger", "agrees", "seconds"]))
    for name in options.only or scenarios:
        started = time.monotonic()
        try:
            outcome = scenarios[name](lab, folder / name)
        except Exception as error:  # any failure of one scenario is its result
            if options.keep:
                traceback.print_exc()
            outcome = Outcome(problems=[f"{type(error).__name__}: {error}"])
        show(name, outcome, time.monotonic() - started)
        if outcome.all_problems():
            failed.append(name)
        if not options.keep:
            shutil.rmtree(folder / name, ignore_errors=True)
    print(f"{len(options.only or scenarios) - len(failed)} agree, {len(failed)} do not"
          f"{': ' + ', '.join(failed) if failed else ''}; {time.monotonic() - began:.0f} s")
    if options.keep:
        say(f"kept: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
