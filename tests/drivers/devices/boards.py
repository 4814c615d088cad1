"""The boards of an XHand exoskeleton, with a list of every packet.

Each packet carries its number where the recorder keeps it unchanged: the encoder
board's spare channel, the force board's three values. The layouts are those of
capture/src/driver/xhand_encoders.rs and xhand_force.rs.
"""

import math
import struct
import threading
import time
from dataclasses import dataclass

RATE_HZ = 50
PERIOD_S = 1 / RATE_HZ
PERIOD_MS = 1000 // RATE_HZ
REFERENCE = 5_536_481


@dataclass
class Packet:
    """One packet of a board, as the host side knows it."""

    number: int
    ticks: int
    # When it was due [s, CLOCK_MONOTONIC].
    due: float
    # When its last byte went to the guest; None while it has not.
    left: float | None = None
    # Sent damaged: it must not be in the file.
    spoilt: bool = False


def encoder_packet(number: int, ticks: int) -> bytes:
    angle = 0.3 * math.sin(number / RATE_HZ)
    words = [int((0.5 + angle / (2 * math.pi) + 0.01 * joint) * REFERENCE) for joint in range(12)]
    words += [REFERENCE, number]
    total = sum(words) & 0xFFFF
    return b"\xaa\x55\0\0" + struct.pack("<14iI", *words, total << 16 | ticks & 0xFFFF)


def number_of_encoders(message) -> int:
    return message.spare


def force_packet(number: int, ticks: int) -> bytes:
    body = struct.pack("<I", number)[:3] + struct.pack("<H", ticks & 0xFFFF)
    return b"\x55\xaa" + body + bytes([sum(body) & 0xFF])


def number_of_force(message) -> int:
    return (message.x & 0xFF) | (message.y & 0xFF) << 8 | (message.z & 0xFF) << 16


KINDS = {
    "encoders": (encoder_packet, number_of_encoders, "dexumi_xhand_encoders", 64),
    "force": (force_packet, number_of_force, "dexumi_xhand_force", 8),
}
BAUD = 921_600


class Board:
    """A board that runs as long as it has power, at the end of an adapter.

    Its counter starts anew each time that it is plugged in, as its processor does.
    """

    period_s = PERIOD_S
    # Its counter goes on over what its buffer had no room for.
    counts_overrun = True

    def __init__(self, stream: str, adapter_class, serial: str, socket_path):
        self.stream = stream
        kind = KINDS["force" if "/force/" in stream else "encoders"]
        self.encode, self.number_of, self.driver, self.length = kind
        self.adapter_class = adapter_class
        self.serial = serial
        self.socket_path = socket_path
        self.packets: list[Packet] = []
        self.adapter = None
        self._running = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def link(self) -> str:
        """What udev calls its port."""
        return "/dev/serial/by-id/" + self.adapter_class.LINK.format(self.serial)

    def rig(self) -> str:
        return (
            f'[[device]]\nstream = "{self.stream}"\ndriver = "{self.driver}"\n'
            f'address = "{self.link}"\nbaud = {BAUD}\nmin_delay_s = {self.length * 10 / BAUD:.6f}\n'
        )

    def plug(self) -> None:
        self.adapter = self.adapter_class(self.serial)
        self.adapter.plug(self.socket_path)
        self._running = threading.Event()
        self._running.set()
        self._thread = threading.Thread(target=self._send, args=(self.adapter, self._running), daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        if self.adapter is None:
            return
        self._running.clear()
        self.adapter.unplug()
        self._thread.join()
        self.adapter = None

    def _send(self, adapter, running) -> None:
        began = time.monotonic()
        step = 0
        while running.is_set() and not adapter.gone.is_set():
            due = began + step * PERIOD_MS / 1000
            delay = due - time.monotonic()
            if delay > 0:
                time.sleep(delay)
            packet = Packet(len(self.packets), step * PERIOD_MS & 0xFFFF, due)
            self.packets.append(packet)

            def left(at, packet=packet):
                packet.left = at

            adapter.transmit(self.encode(packet.number, packet.ticks), left)
            step += 1
