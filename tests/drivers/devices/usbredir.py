"""A USB device at the far end of QEMU's `-device usb-redir`.

QEMU speaks the usbredir protocol on a Unix socket (its specification:
usb-redirection-protocol.md of SPICE's usbredir). Connecting is plugging in, closing
is pulling the cable. The guest's kernel enumerates the device by its descriptors
and binds its own driver to it.
"""

import socket
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path

# Packet types.
HELLO, CONNECT, RESET = 0, 1, 3
INTERFACE_INFO, ENDPOINT_INFO = 4, 5
SET_CONFIGURATION, GET_CONFIGURATION, CONFIGURATION_STATUS = 6, 7, 8
SET_ALT_SETTING, GET_ALT_SETTING, ALT_SETTING_STATUS = 9, 10, 11
START_INTERRUPT, STOP_INTERRUPT, INTERRUPT_STATUS = 15, 16, 17
CANCEL_DATA = 21
CONTROL, BULK = 100, 101

# Status of a transfer.
SUCCESS, CANCELLED, STALL = 0, 1, 4

# Device version, disconnect acknowledgement, endpoint packet sizes, 64-bit
# identifiers, 32-bit lengths of bulk transfers.
CAPABILITIES = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6
WIDE_IDENTIFIERS = 1 << 5

FULL_SPEED, HIGH_SPEED = 1, 2
BULK_ENDPOINT, INTERRUPT_ENDPOINT, NO_ENDPOINT = 2, 3, 255

# Standard requests.
GET_STATUS, CLEAR_FEATURE, SET_FEATURE, GET_DESCRIPTOR = 0, 1, 3, 6
DEVICE_DESCRIPTOR, CONFIGURATION_DESCRIPTOR, STRING_DESCRIPTOR, QUALIFIER_DESCRIPTOR = 1, 2, 3, 6


@dataclass
class Identity:
    """What a device says it is."""

    vendor: int
    product: int
    release: int
    device_class: tuple[int, int, int]
    speed: int
    manufacturer: str
    name: str
    serial: str


@dataclass
class Interface:
    number: int
    interface_class: int
    subclass: int
    protocol: int


@dataclass
class Endpoint:
    address: int
    kind: int
    interval: int
    interface: int
    packet_bytes: int


class UsbDevice:
    """Base of the devices: enumeration, and bulk transfers as they are asked for.

    A device is plugged in at most once: after `unplug` make a new one.
    """

    def __init__(self, identity: Identity):
        self.identity = identity
        self.lock = threading.RLock()
        self.gone = threading.Event()
        # Bulk transfers that wait for data: identifier → (endpoint, length), oldest first.
        self.waiting: dict[int, tuple[int, int]] = {}
        self._socket: socket.socket | None = None
        self._wide = False
        self._configuration = 0
        self._alt_settings: dict[int, int] = {}

    # What a device is: for subclasses.

    def interfaces(self) -> list[Interface]:
        raise NotImplementedError

    def endpoints(self) -> list[Endpoint]:
        raise NotImplementedError

    def configuration(self) -> bytes:
        """The configuration descriptor with all that belongs to it."""
        raise NotImplementedError

    def request(self, kind: int, request: int, value: int, index: int, length: int, data: bytes):
        """A class or vendor request: bytes to answer, or None to refuse."""
        raise NotImplementedError

    def transfer_wanted(self) -> None:
        """The guest asks for data: one more transfer is waiting."""

    def data_came(self, endpoint: int, data: bytes) -> None:
        """The guest sent data."""

    def halt_cleared(self, endpoint: int) -> None:
        """The guest reset an endpoint."""

    def unplugged(self) -> None:
        """The cable was pulled, or the machine is gone."""

    # Plugging.

    def plug(self, path: Path, timeout_s: float = 10) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            link = socket.socket(socket.AF_UNIX)
            try:
                link.connect(str(path))
                break
            except OSError:
                link.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        self._socket = link
        hello = b"dexumi driver tests".ljust(64, b"\0") + struct.pack("<I", CAPABILITIES)
        self._send(HELLO, 0, hello)
        threading.Thread(target=self._serve, name="usb", daemon=True).start()

    def unplug(self) -> None:
        if not self.gone.is_set():
            self.gone.set()
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.unplugged()

    # The protocol.

    def _send(self, kind: int, identifier: int, body: bytes) -> None:
        form = "<IIQ" if self._wide else "<III"
        packet = struct.pack(form, kind, len(body), identifier) + body
        with self.lock:
            try:
                self._socket.sendall(packet)
            except OSError:
                self.gone.set()

    def _receive(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            part = self._socket.recv(length - len(data))
            if not part:
                raise EOFError
            data += part
        return bytes(data)

    def _serve(self) -> None:
        try:
            while True:
                head = self._receive(16 if self._wide else 12)
                kind, length, identifier = struct.unpack("<IIQ" if self._wide else "<III", head)
                self._handle(kind, identifier, self._receive(length))
        except (EOFError, OSError):
            pass
        self.gone.set()
        self._socket.close()
        self.unplugged()

    def _handle(self, kind: int, identifier: int, body: bytes) -> None:
        if kind == HELLO:
            peer = struct.unpack_from("<I", body, 64)[0] if len(body) >= 68 else 0
            self._wide = bool(peer & CAPABILITIES & WIDE_IDENTIFIERS)
            self._announce()
            it = self.identity
            described = struct.pack(
                "<BBBBHHH", it.speed, *it.device_class, it.vendor, it.product, it.release
            )
            self._send(CONNECT, 0, described)
        elif kind == SET_CONFIGURATION:
            self._configuration = body[0]
            self._announce()
            self._send(CONFIGURATION_STATUS, identifier, bytes([SUCCESS, self._configuration]))
        elif kind == GET_CONFIGURATION:
            self._send(CONFIGURATION_STATUS, identifier, bytes([SUCCESS, self._configuration]))
        elif kind in (SET_ALT_SETTING, GET_ALT_SETTING):
            if kind == SET_ALT_SETTING:
                self._alt_settings[body[0]] = body[1]
            now = self._alt_settings.get(body[0], 0)
            self._send(ALT_SETTING_STATUS, identifier, bytes([SUCCESS, body[0], now]))
        elif kind in (START_INTERRUPT, STOP_INTERRUPT):
            self._send(INTERRUPT_STATUS, identifier, bytes([SUCCESS, body[0]]))
        elif kind == CANCEL_DATA:
            with self.lock:
                transfer = self.waiting.pop(identifier, None)
            if transfer:
                self._bulk_reply(identifier, transfer[0], b"", CANCELLED)
        elif kind == CONTROL:
            self._control(identifier, body)
        elif kind == BULK:
            endpoint, _, low, _, high = struct.unpack_from("<BBHIH", body)
            length = low | high << 16
            if endpoint & 0x80:
                with self.lock:
                    self.waiting[identifier] = (endpoint, length)
                self.transfer_wanted()
            else:
                self.data_came(endpoint, body[10:])
                self._send(BULK, identifier, struct.pack("<BBHIH", endpoint, SUCCESS, low, 0, high))
        # What is left needs no answer: reset, and the acknowledgement of a disconnect.

    def _announce(self) -> None:
        interfaces = self.interfaces()
        fields = [[0] * 32 for _ in range(4)]
        for at, interface in enumerate(interfaces):
            fields[0][at] = interface.number
            fields[1][at] = interface.interface_class
            fields[2][at] = interface.subclass
            fields[3][at] = interface.protocol
        self._send(INTERFACE_INFO, 0, struct.pack("<I", len(interfaces)) + bytes(sum(fields, [])))
        kinds, intervals, owners, sizes = [NO_ENDPOINT] * 32, [0] * 32, [0] * 32, [0] * 32
        for control in (0, 16):
            kinds[control], sizes[control] = 0, 64
        for endpoint in self.endpoints():
            at = (endpoint.address & 0x0F) | (endpoint.address & 0x80) >> 3
            kinds[at], intervals[at] = endpoint.kind, endpoint.interval
            owners[at], sizes[at] = endpoint.interface, endpoint.packet_bytes
        body = bytes(kinds) + bytes(intervals) + bytes(owners) + struct.pack("<32H", *sizes)
        self._send(ENDPOINT_INFO, 0, body)

    def _control(self, identifier: int, body: bytes) -> None:
        endpoint, request, kind, _, value, index, length = struct.unpack_from("<BBBBHHH", body)
        data = body[10:]
        if kind & 0x60 == 0:
            answer = self._standard(kind, request, value, index)
        else:
            answer = self.request(kind, request, value, index, length, data)
        status = STALL if answer is None else SUCCESS
        to_guest = (answer or b"")[:length] if kind & 0x80 else b""
        count = len(to_guest) if kind & 0x80 or status == STALL else length
        head = struct.pack("<BBBBHHH", endpoint, request, kind, status, value, index, count)
        self._send(CONTROL, identifier, head + to_guest)

    def _standard(self, kind: int, request: int, value: int, index: int):
        if request == GET_DESCRIPTOR:
            return self._descriptor(value >> 8, value & 0xFF)
        if request == GET_STATUS:
            return b"\0\0"
        if request in (CLEAR_FEATURE, SET_FEATURE):
            if kind == 0x02 and request == CLEAR_FEATURE:
                self.halt_cleared(index)
            return b""
        return None

    def _descriptor(self, kind: int, index: int):
        it = self.identity
        if kind == DEVICE_DESCRIPTOR:
            return struct.pack(
                "<BBHBBBBHHHBBBB", 18, 1, 0x200, *it.device_class, 64,
                it.vendor, it.product, it.release, 1, 2, 3, 1,
            )
        if kind == CONFIGURATION_DESCRIPTOR:
            return self.configuration()
        if kind == QUALIFIER_DESCRIPTOR and it.speed == HIGH_SPEED:
            return struct.pack("<BBHBBBBBB", 10, 6, 0x200, *it.device_class, 64, 1, 0)
        if kind == STRING_DESCRIPTOR:
            if index == 0:
                return b"\x04\x03\x09\x04"  # English
            text = ["", it.manufacturer, it.name, it.serial]
            if index < len(text):
                encoded = text[index].encode("utf-16le")
                return bytes([2 + len(encoded), 3]) + encoded
        return None

    def _bulk_reply(self, identifier: int, endpoint: int, data: bytes, status: int) -> None:
        low, high = len(data) & 0xFFFF, len(data) >> 16
        self._send(BULK, identifier, struct.pack("<BBHIH", endpoint, status, low, 0, high) + data)

    def answer_transfer(self, build) -> bool:
        """Answers the oldest waiting transfer with `build(length)`; False where none
        waits or nothing was built."""
        with self.lock:
            if not self.waiting or self.gone.is_set():
                return False
            identifier, (endpoint, length) = next(iter(self.waiting.items()))
            data = build(length)
            if not data:
                return False
            del self.waiting[identifier]
            self._bulk_reply(identifier, endpoint, data, SUCCESS)
            return True


def configuration_descriptor(interfaces: int, body: bytes, self_powered: bool = False) -> bytes:
    """Head and body of a configuration."""
    attributes = 0xC0 if self_powered else 0x80
    return struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), interfaces, 1, 0, attributes, 50) + body


def interface_descriptor(number: int, endpoints: int, classes: tuple[int, int, int]) -> bytes:
    return bytes([9, 4, number, 0, endpoints, *classes, 0])


def endpoint_descriptor(address: int, kind: int, packet_bytes: int, interval: int = 0) -> bytes:
    return struct.pack("<BBBBHB", 7, 5, address, kind, packet_bytes, interval)
