"""Two USB serial adapters, to which the guest's `ftdi_sio` and `cdc_acm` bind.

Both have a buffer towards USB, as the real ones do: what does not fit while the
guest asks for nothing is lost, and the list of packets says so. It is larger than a
real one's, because the guest stands still at times when the host is busy.
"""

import struct
import threading
import time
from collections import deque

from .usbredir import (
    BULK_ENDPOINT, FULL_SPEED, INTERRUPT_ENDPOINT, Endpoint, Identity, Interface, UsbDevice,
    configuration_descriptor, endpoint_descriptor, interface_descriptor,
)


class SerialAdapter(UsbDevice):
    """A buffer of packets, which leave in order, as bytes."""

    BUFFER_BYTES = 2048

    def __init__(self, identity: Identity):
        super().__init__(identity)
        self._bytes = bytearray()
        # Ends of the packets, as counts of bytes since the start, and whom to tell.
        self._ends: deque[tuple[int, object]] = deque()
        self._taken = 0
        self._given = 0

    def room(self) -> int:
        """Size of the buffer just now."""
        return self.BUFFER_BYTES

    def transmit(self, packet: bytes, left) -> bool:
        """Takes a packet of the board; False where the buffer is full. `left(time)` is
        called once its last byte is on its way to the guest."""
        with self.lock:
            if len(self._bytes) + len(packet) > self.room() or self.gone.is_set():
                return False
            self._bytes += packet
            self._taken += len(packet)
            self._ends.append((self._taken, left))
        self.flush()
        return True

    def take(self, length: int) -> bytes:
        """Up to this many bytes for a transfer. Call with the lock held."""
        data = bytes(self._bytes[:length])
        del self._bytes[: len(data)]
        self._given += len(data)
        now = time.monotonic()
        while self._ends and self._ends[0][0] <= self._given:
            self._ends.popleft()[1](now)
        return data

    def purge(self) -> None:
        """Forgets what has not left."""
        with self.lock:
            self._taken -= len(self._bytes)
            self._bytes.clear()
            self._ends.clear()

    def transfer_wanted(self) -> None:
        self.flush()

    def flush(self) -> None:
        raise NotImplementedError


class CdcAcm(SerialAdapter):
    """A board with USB of its own, such as an Arduino: the standard serial class.

    Nothing empties its buffer when a port is opened, so that a program gets old
    bytes first: those from when the buffer became full.
    """

    CLOSED_BYTES = 128
    LINK = "usb-Arduino_Uno_{}-if00"

    def __init__(self, serial: str):
        super().__init__(
            Identity(0x2341, 0x0043, 0x0100, (2, 0, 0), FULL_SPEED, "Arduino", "Uno", serial)
        )
        self._coding = struct.pack("<IBBB", 9600, 0, 0, 8)
        self._is_open = False

    def room(self):
        return self.BUFFER_BYTES if self._is_open else self.CLOSED_BYTES

    def interfaces(self):
        return [Interface(0, 2, 2, 1), Interface(1, 10, 0, 0)]

    def endpoints(self):
        return [
            Endpoint(0x83, INTERRUPT_ENDPOINT, 10, 0, 8),
            Endpoint(0x81, BULK_ENDPOINT, 0, 1, 64),
            Endpoint(0x02, BULK_ENDPOINT, 0, 1, 64),
        ]

    def configuration(self):
        functional = bytes([5, 0x24, 0, 0x10, 1, 5, 0x24, 1, 0, 1, 4, 0x24, 2, 6, 5, 0x24, 6, 0, 1])
        body = (
            interface_descriptor(0, 1, (2, 2, 1))
            + functional
            + endpoint_descriptor(0x83, 3, 8, 10)
            + interface_descriptor(1, 2, (10, 0, 0))
            + endpoint_descriptor(0x81, 2, 64)
            + endpoint_descriptor(0x02, 2, 64)
        )
        return configuration_descriptor(2, body)

    def request(self, kind, request, value, index, length, data):
        if request == 0x20:  # SET_LINE_CODING
            self._coding = data[:7]
            return b""
        if request == 0x21:  # GET_LINE_CODING
            return self._coding
        if request == 0x22:  # SET_CONTROL_LINE_STATE: bit 0 is DTR
            self._is_open = bool(value & 1)
            return b""
        if request == 0x23:  # SEND_BREAK
            return b""
        return None

    def flush(self):
        # One byte short of a full packet: a short packet ends the transfer.
        while self.answer_transfer(lambda length: self.take(min(length, 63))):
            pass


class Ftdi(SerialAdapter):
    """An FT232R. Bytes leave in packets of 64 with two bytes of status in front; a
    packet that is not full waits for the latency timer. The driver resets it at each
    opening, which empties its buffer. The idle packets, which a real one sends at
    each turn of the timer, are left out."""

    LINK = "usb-FTDI_FT232R_USB_UART_{}-if00-port0"
    PACKET_BYTES = 64
    STATUS = b"\x01\x60"
    RESET, RESET_ALL, RESET_TO_HOST = 0, 0, 1
    MODEM_STATUS, SET_LATENCY, GET_LATENCY, READ_EEPROM = 5, 9, 10, 0x90

    def __init__(self, serial: str):
        super().__init__(
            Identity(0x0403, 0x6001, 0x0600, (0, 0, 0), FULL_SPEED, "FTDI", "FT232R USB UART", serial)
        )
        self.latency_ms = 16
        # What the guest set, in order.
        self.latencies_ms: list[int] = []
        self._timer_at = time.monotonic()
        self._work = threading.Condition(self.lock)
        threading.Thread(target=self._turn, name="latency", daemon=True).start()

    def interfaces(self):
        return [Interface(0, 255, 255, 255)]

    def endpoints(self):
        return [
            Endpoint(0x81, BULK_ENDPOINT, 0, 0, self.PACKET_BYTES),
            Endpoint(0x02, BULK_ENDPOINT, 0, 0, self.PACKET_BYTES),
        ]

    def configuration(self):
        body = (
            interface_descriptor(0, 2, (255, 255, 255))
            + endpoint_descriptor(0x81, 2, self.PACKET_BYTES)
            + endpoint_descriptor(0x02, 2, self.PACKET_BYTES)
        )
        return configuration_descriptor(1, body)

    def request(self, kind, request, value, index, length, data):
        if kind & 0x80:
            return {
                self.MODEM_STATUS: self.STATUS,
                self.GET_LATENCY: bytes([self.latency_ms]),
                self.READ_EEPROM: b"\0\0",
            }.get(request)
        if request == self.RESET and value in (self.RESET_ALL, self.RESET_TO_HOST):
            self.purge()
        if request == self.SET_LATENCY:
            self.latency_ms = value & 0xFF
            self.latencies_ms.append(self.latency_ms)
        return b""

    def flush(self):
        with self.lock:
            self._work.notify()

    def unplugged(self):
        with self.lock:
            self._work.notify()

    def _packet(self, length: int) -> bytes:
        """One packet; or nothing, where the timer has to run out first."""
        room = self.PACKET_BYTES - len(self.STATUS)
        full = len(self._bytes) >= room
        if not self._bytes or not (full or time.monotonic() >= self._timer_at):
            return b""
        return self.STATUS + self.take(min(room, length - len(self.STATUS)))

    def _turn(self):
        with self.lock:
            while not self.gone.is_set():
                while self.answer_transfer(self._packet):
                    pass
                now = time.monotonic()
                latency_s = max(self.latency_ms, 1) / 1000
                if self._timer_at <= now:
                    self._timer_at += latency_s * (1 + (now - self._timer_at) // latency_s)
                # Without bytes, or without a transfer to put them in, only an event helps.
                blocked = not self._bytes or not self.waiting
                self._work.wait(None if blocked else self._timer_at - now)
