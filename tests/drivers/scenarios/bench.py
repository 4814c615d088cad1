"""A guest with a rig of devices and a session that is being recorded."""

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from devices.boards import Board
from devices.cameras import Camera
from devices.serial import CdcAcm, Ftdi
from judge.episode import HAS_MCAP, dexumi, info, read, rerun_problem
from judge.stream import Fault, Verdict, judge_stream
from machine.image import make_disk, read_folder, replay_journal
from machine.provision import Provisions
from machine.qemu import Disk, VirtualMachine

ENCODERS = "/exo/right/encoders"
THUMB = "/exo/right/force/thumb"
INDEX = "/exo/right/force/index"
MIDDLE = "/exo/right/force/middle"
# Two boards behind each driver.
ADAPTERS = {
    ENCODERS: (Ftdi, "EXO1"),
    THUMB: (Ftdi, "TIP1"),
    INDEX: (CdcAcm, "TIP2"),
    MIDDLE: (CdcAcm, "TIP3"),
}
WRIST = "/camera/wrist/image"
HEAD = "/camera/head/image"
TABLE = "/camera/table/image"
SERIALS = {WRIST: "CAM1", HEAD: "CAM2", TABLE: "CAM3"}
# The emulated processor is slow: what it can take without losses, on a busy host too.
CAMERA_HZ = 15
VGA = (640, 480)


@dataclass
class Lab:
    """What all scenarios share."""

    provisions: Provisions
    system: Path
    initrd: Path
    program: Path
    folder: Path
    say: object = print


@dataclass
class Outcome:
    """What a scenario found."""

    verdicts: list[Verdict] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def expect(self, condition, problem: str) -> None:
        if not condition:
            self.problems.append(problem)

    def all_problems(self) -> list[str]:
        of_streams = [f"{v.stream}: {problem}" for v in self.verdicts for problem in v.problems]
        return self.problems + of_streams


class Bench:
    """One boot. `folder` is the scenario's own."""

    def __init__(
        self, lab: Lab, folder: Path, streams=tuple(ADAPTERS), disk_mb: int = 256, size=VGA, rate_hz=CAMERA_HZ
    ):
        self.lab = lab
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.disk = Disk(folder / "data.img")
        make_disk(self.disk.path, disk_mb)
        self.machine = VirtualMachine(
            lab.provisions, lab.system, lab.initrd, folder / "vm", [self.disk]
        )
        self.streams = streams
        self.size, self.rate_hz = size, rate_hz
        self.devices: dict[str, Board | Camera] = {}
        self.renew()
        self.outcome = Outcome()

    def renew(self) -> None:
        """The same devices, with new lists of what they send."""
        for port, stream in enumerate(self.streams):
            socket_path = self.machine.usb_socket(port)
            if stream in ADAPTERS:
                device = Board(stream, *ADAPTERS[stream], socket_path)
            else:
                device = Camera(stream, SERIALS[stream], self.size, self.rate_hz, socket_path)
            self.devices[stream] = device

    def __enter__(self):
        self.machine.start()
        for device in self.devices.values():
            device.plug()
        return self

    def __exit__(self, *_):
        for device in self.devices.values():
            device.unplug()
        self.machine.cut_power()

    # Before the recording.

    def rig(self) -> str:
        head = 'format = 1\nname = "driver tests"\nhand = "xhand_right"\n'
        return "\n".join([head, *(device.rig() for device in self.devices.values())])

    def prepare(self, mount: str = "mount /dev/vdb /data") -> None:
        """Mounts the disk, writes the rig, waits for the devices."""
        self.machine.sh(f"{mount} && cat >/data/rig.toml <<'END'\n{self.rig()}END\n")
        for stream in self.devices:
            self.wait_plugged(stream)

    def wait_plugged(self, stream: str) -> None:
        link = self.devices[stream].link
        self.machine.wait_for(lambda: self.machine.run(f"test -e {link}").status == 0, f"{link} appears")

    # The recording.

    def record(self, seconds: float, *options: str, reserve_mb: int = 1, name: str = "record") -> None:
        """Starts the recorder, returns when its first episode runs."""
        self.machine.background(
            f"dexumi record --rig /data/rig.toml --out /data/session --task 'driver test' "
            f"--seconds {seconds} --reserve-mb {reserve_mb} {' '.join(options)}",
            name,
        )

        def started():
            output = self.machine.output(name)
            if "recording" in output:
                return True
            if self.machine.status(name) is not None:
                raise AssertionError(f"the recorder ended before it began: {output.strip()}")
            return False

        self.machine.wait_for(started, "the episode starts")

    def stop(self, name: str = "record") -> tuple[int, str]:
        """Ends the recording by Ctrl-C."""
        self.machine.send_signal(name, "INT")
        return self.finished(name)

    def finished(self, name: str = "record", timeout_s: float = 120) -> tuple[int, str]:
        """Waits for the recorder's end: exit status, and what it said."""
        status = self.machine.wait_for(
            lambda: [code for code in [self.machine.status(name)] if code is not None],
            "the recorder ends", timeout_s,
        )[0]
        said = self.machine.output(name)
        (self.folder / f"{name}.txt").write_text(said)
        return status, said

    def while_unplugged(self, stream: str, seconds: float) -> Fault:
        """Pulls a device's cable for some time."""
        began = time.monotonic()
        self.devices[stream].unplug()
        time.sleep(seconds)
        self.devices[stream].plug()
        return Fault(began, time.monotonic(), outage=True)

    def device_names(self) -> list[str]:
        """The kernel's names of the devices today."""
        links = " ".join(device.link for device in self.devices.values())
        return self.machine.sh(f"for link in {links}; do readlink -f $link; done").split()

    # Afterwards.

    def fetch(self) -> Path:
        """Switches off, and copies the session out of the disk."""
        self.machine.power_off()
        # A file system that met an error was not left clean.
        replay_journal(self.disk.path)
        target = self.folder / "out"
        shutil.rmtree(target, ignore_errors=True)
        read_folder(self.disk.path, "/session", target)
        return target / "session"

    def recover(self, session: Path) -> None:
        """Finishes what the recorder could not."""
        status, _, messages = dexumi(self.lab.program, "recover", session)
        self.outcome.expect(status == 3, f"dexumi recover ended with {status}: {messages.strip()}")

    def judge(
        self, episode: Path, faults: dict[str, list[Fault]] | None = None, ledger_may_lag: int = 0
    ) -> dict:
        """Holds every stream of an episode against what its device sent."""
        report = info(self.lab.program, episode)
        if ledger_may_lag == 0:
            self.outcome.expect(report["balances"], "dexumi info: the ledger does not balance")
        if not HAS_MCAP:
            self.outcome.notes.append("content not compared: no Python package mcap")
            return report
        problem = rerun_problem(episode)
        self.outcome.expect(problem is None, f"Rerun: {problem}")
        samples = read(episode, list(self.devices))
        for stream, device in self.devices.items():
            self.outcome.verdicts.append(
                judge_stream(
                    device, samples[stream], report["ledger"].get(stream, {}),
                    (faults or {}).get(stream, []), ledger_may_lag,
                )
            )
        return report
