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


def kind_of(stream: str) -> str:
    return "force" if "/force/" in stream else "encoders"


class Board:
    """A board that runs as long as it has power, at the end of an adapter.

    `make_adapter` makes what is plugged in; the board's counter starts anew each
    time, as its processor does.
    """

    def __init__(self, stream: str, make_adapter, socket_path):
        self.stream = stream
        self.encode = KINDS[kind_of(stream)][0]
        self.make_adapter = make_adapter
        self.socket_path = socket_path
        self.packets: list[Packet] = []
        self.adapter = None
        self._running = threading.Event()
        self._thread: threading.Thread | None = None

    def plug(self) -> None:
        self.adapter = self.make_adapter()
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
