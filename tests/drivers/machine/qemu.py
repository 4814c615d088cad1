"""One run of the virtual machine: boot, commands, power."""

import base64
import json
import os
import shlex
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from .provision import Provisions

# Generous: the host may be busy, and the guest is slow then.
BOOT_TIMEOUT_S = 600
COMMAND_TIMEOUT_S = 300
USB_PORTS = 8


class MachineError(Exception):
    """The guest did not do what was asked."""


@dataclass
class Answer:
    """What a command in the guest said."""

    status: int
    text: str


@dataclass
class Disk:
    """A disk of the guest: /dev/vdb, /dev/vdc, … in this order."""

    path: Path
    # Where each write and each flush is noted, for a power cut.
    log: Path | None = None


@dataclass
class Lines:
    """A socket that is read by line and by length, with a deadline."""

    link: socket.socket
    rest: bytes = b""

    def _more(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.link.settimeout(left)
        part = self.link.recv(65536)
        if not part:
            raise EOFError
        self.rest += part

    def line(self, deadline: float) -> bytes:
        while b"\n" not in self.rest:
            self._more(deadline)
        line, self.rest = self.rest.split(b"\n", 1)
        return line

    def exactly(self, length: int, deadline: float) -> bytes:
        while len(self.rest) < length:
            self._more(deadline)
        data, self.rest = self.rest[:length], self.rest[length:]
        return data


def brief(command: str) -> str:
    """A command's first line, for messages."""
    first, *more = command.split("\n")
    return first + (" …" if more else "")


def connect(path: Path, alive, timeout_s: float = 30) -> socket.socket:
    """Connects to a socket of QEMU, as soon as it is there."""
    deadline = time.monotonic() + timeout_s
    while True:
        link = socket.socket(socket.AF_UNIX)
        try:
            link.connect(str(path))
            return link
        except OSError:
            link.close()
            if not alive() or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


@dataclass
class VirtualMachine:
    """A guest that runs from `start` to `power_off` or `cut_power`.

    `folder` takes its sockets and its console; their names must be short, a Unix
    socket's path has 107 characters.
    """

    provisions: Provisions
    system: Path
    initrd: Path
    folder: Path
    disks: list[Disk] = field(default_factory=list)
    memory_mb: int = 1536
    extra: list[str] = field(default_factory=list)

    process: subprocess.Popen | None = None
    _control: Lines | None = None
    _monitor: Lines | None = None
    boot_s: float = 0.0

    def usb_socket(self, port: int) -> Path:
        """Where a USB device of ours is plugged in."""
        return self.folder / f"usb{port}.sock"

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    def _command(self) -> tuple[list[str], dict[str, str]]:
        command, environment = self.provisions.qemu()
        sockets = []
        for port in range(USB_PORTS):
            # Port numbers are fixed, so that a path by port stays the same.
            sockets += [
                "-chardev", f"socket,id=usb{port},path={self.usb_socket(port)},server=on,wait=off",
                "-device", f"usb-redir,id=redir{port},chardev=usb{port},bus=xhci.0,port={port + 1}",
            ]
        disks = [
            "-blockdev",
            f"driver=raw,node-name=system,read-only=on,file.driver=file,file.filename={self.system}",
            "-device", "virtio-blk-pci,drive=system",
        ]
        for number, disk in enumerate(self.disks):
            node = f"disk{number}"
            if disk.log is None:
                disks += ["-blockdev", f"driver=raw,node-name={node},file.driver=file,file.filename={disk.path}"]
            else:
                disk.log.touch()
                disks += [
                    "-blockdev",
                    f"driver=blklogwrites,node-name={node},log-sector-size=512,"
                    f"file.driver=raw,file.file.driver=file,file.file.filename={disk.path},"
                    f"log.driver=raw,log.file.driver=file,log.file.filename={disk.log}",
                ]
            disks += ["-device", f"virtio-blk-pci,drive={node},write-cache=on"]
        return [
            *command,
            "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max",
            "-m", str(self.memory_mb), "-smp", "2",
            "-display", "none", "-no-reboot", "-nodefaults", "-no-user-config",
            "-serial", f"file:{self.console}",
            "-kernel", str(self.provisions.kernel), "-initrd", str(self.initrd),
            "-append",
            # The processor's own counter is measured at boot, wrongly by factors where the host is
            # busy just then; the HPET counts by the host's clock. The timer is checked at boot as well,
            # and the guest gives up where the host is too busy for it to tick in time.
            "console=ttyS0 quiet loglevel=4 panic=-1 nokaslr mitigations=off clocksource=hpet no_timer_check",
            *disks,
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=agent,path={self.folder / 'agent.sock'},server=on,wait=off",
            "-device", "virtserialport,chardev=agent,name=agent",
            "-device", "qemu-xhci,id=xhci,p2=12,p3=4",
            *sockets,
            "-qmp", f"unix:{self.folder / 'qmp.sock'},server=on,wait=off",
            *self.extra,
        ], environment

    def start(self) -> None:
        """Boots, until the guest takes commands."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for stale in self.folder.glob("*.sock"):
            stale.unlink()
        command, environment = self._command()
        began = time.monotonic()
        with open(self.folder / "qemu.log", "ab") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )
        try:
            self._control = Lines(connect(self.folder / "agent.sock", self.is_running))
            self.sh("true", timeout_s=BOOT_TIMEOUT_S)
        except (OSError, MachineError) as error:
            self.cut_power()
            raise MachineError(
                f"the guest did not boot ({error}); see {self.console} and {self.folder / 'qemu.log'}"
            ) from error
        self.boot_s = time.monotonic() - began

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def run(self, command: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Answer:
        """Runs a shell command in the guest."""
        deadline = time.monotonic() + timeout_s
        try:
            self._control.link.sendall(base64.b64encode(command.encode()) + b"\n")
            status, length = self._control.line(deadline).split()
            text = self._control.exactly(int(length), deadline)
        except TimeoutError as error:
            raise MachineError(f"no answer within {timeout_s:.0f} s to: {brief(command)}") from error
        except (EOFError, OSError) as error:
            raise MachineError(f"the machine is gone, asked: {brief(command)}") from error
        return Answer(int(status), text.decode(errors="replace"))

    def sh(self, command: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """Runs a shell command that must succeed."""
        answer = self.run(command, timeout_s)
        if answer.status != 0:
            raise MachineError(f"`{brief(command)}` ended with {answer.status}: {answer.text.strip()}")
        return answer.text

    def background(self, command: str, name: str) -> None:
        """Starts a command that goes on; see `output`, `status`, and `pid`."""
        inner = f"echo $$ >/run/{name}.pid; exec {command}"
        self.sh(
            f"rm -f /run/{name}.*; (sh -c {shlex.quote(inner)} >/run/{name}.out 2>&1; "
            f"echo $? >/run/{name}.new; mv /run/{name}.new /run/{name}.status) >/dev/null 2>&1 &"
        )

    def output(self, name: str) -> str:
        return self.run(f"cat /run/{name}.out").text

    def status(self, name: str) -> int | None:
        """Its exit status, or None while it runs."""
        text = self.run(f"cat /run/{name}.status 2>/dev/null").text.strip()
        return int(text) if text else None

    def send_signal(self, name: str, kind: str) -> None:
        self.sh(f"kill -{kind} $(cat /run/{name}.pid)")

    def wait_for(self, condition, what: str, timeout_s: float = COMMAND_TIMEOUT_S):
        """Asks until the condition gives something."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = condition()
            if found:
                return found
            if time.monotonic() > deadline:
                raise MachineError(f"not within {timeout_s:.0f} s: {what}")
            time.sleep(0.1)

    def qmp(self, command: str, **arguments) -> dict:
        """Asks QEMU itself."""
        deadline = time.monotonic() + 30
        if self._monitor is None:
            self._monitor = Lines(connect(self.folder / "qmp.sock", self.is_running))
            self._monitor.line(deadline)
            self._ask("qmp_capabilities", {}, deadline)
        return self._ask(command, arguments, deadline)

    def _ask(self, command: str, arguments: dict, deadline: float) -> dict:
        request = json.dumps({"execute": command, "arguments": arguments})
        self._monitor.link.sendall(request.encode() + b"\n")
        while True:
            reply = json.loads(self._monitor.line(deadline))
            if "error" in reply:
                raise MachineError(f"QEMU refused {command}: {reply['error'].get('desc')}")
            if "return" in reply:
                return reply["return"]

    def power_off(self) -> None:
        """Unmounts, and ends the machine as a person would."""
        if self.is_running():
            try:
                self.run("cd /; umount /data 2>/dev/null; sync; poweroff -f", timeout_s=60)
            except MachineError:
                pass  # it is gone before it can answer
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                pass
        self.cut_power()

    def cut_power(self) -> float:
        """Ends the machine at once; returns when [s, CLOCK_MONOTONIC]."""
        at = time.monotonic()
        if self.is_running():
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for lines in (self._control, self._monitor):
            if lines is not None:
                lines.link.close()
        self._control = self._monitor = None
        return at

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.cut_power()
