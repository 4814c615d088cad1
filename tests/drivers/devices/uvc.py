"""A USB camera, to which the guest's `uvcvideo` binds.

By the USB Device Class Definition for Video Devices 1.0 (and its motion JPEG
payload), with a bulk endpoint: the guest asks for data, and what it does not ask for
in time the camera cannot keep.
"""

import struct
import threading
import time
from dataclasses import dataclass

from .usbredir import (
    BULK_ENDPOINT, HIGH_SPEED, Endpoint, Identity, Interface, UsbDevice,
    configuration_descriptor, endpoint_descriptor, interface_descriptor,
)

# A header and up to this many bytes with it: what uvcvideo fits into one transfer.
PAYLOAD_BYTES = 16384
HEADER_BYTES = 12
ENDPOINT = 0x81
# Clock of the stamps in payload headers, which counts images' starts [Hz].
CLOCK_HZ = 48_000_000
# Units of 100 ns in a second, in which UVC counts image intervals.
INTERVAL_HZ = 10_000_000

# Requests.
SET_CUR, GET_CUR, GET_MIN, GET_MAX, GET_RES, GET_LEN, GET_INFO, GET_DEF = 0x01, *range(0x81, 0x88)
CONTROL_INTERFACE, STREAMING_INTERFACE = 0, 1
TERMINAL, PROCESSING_UNIT, OUTPUT = 1, 2, 3
PROBE, COMMIT = 1, 2
# Bits of a payload header.
IMAGE_PARITY, END_OF_IMAGE, HAS_TIME, HAS_CLOCK, IS_DAMAGED, END_OF_HEADER = 1, 2, 4, 8, 0x40, 0x80


@dataclass
class Control:
    """A control of the camera terminal or of the processing unit."""

    name: str
    unit: int
    selector: int
    # Its bit in the unit's list of controls.
    bit: int
    form: str
    least: int
    greatest: int
    step: int
    value: int


def controls() -> list[Control]:
    """Those of an ordinary camera, automatic at first. The step of the exposure's mode is
    the set of modes there are: 1 manual, 8 aperture priority."""
    return [
        Control("exposure_mode", TERMINAL, 0x02, 1, "<B", 0, 0, 0x01 | 0x08, 8),
        Control("exposure_priority", TERMINAL, 0x03, 2, "<B", 0, 1, 1, 0),
        Control("exposure_100us", TERMINAL, 0x04, 3, "<I", 1, 5000, 1, 156),
        Control("brightness", PROCESSING_UNIT, 0x02, 0, "<h", -64, 64, 1, 0),
        Control("contrast", PROCESSING_UNIT, 0x03, 1, "<H", 0, 95, 1, 32),
        Control("gain", PROCESSING_UNIT, 0x04, 9, "<H", 0, 255, 1, 0),
        Control("power_line", PROCESSING_UNIT, 0x05, 10, "<B", 0, 2, 1, 1),
        Control("white_balance_k", PROCESSING_UNIT, 0x0A, 6, "<H", 2800, 6500, 10, 4600),
        Control("white_balance_auto", PROCESSING_UNIT, 0x0B, 12, "<B", 0, 1, 1, 1),
    ]


@dataclass(frozen=True)
class Mode:
    """A size with its rates [Hz]."""

    width: int
    height: int
    rates: tuple[int, ...]

    def intervals(self) -> list[int]:
        return [INTERVAL_HZ // rate for rate in self.rates]


MODES = (Mode(640, 480, (30, 15)), Mode(1280, 720, (30, 15)))


class UvcCamera(UsbDevice):
    """A camera whose images come from `expose(mode, rate_hz)`, called at their times."""

    def __init__(self, serial: str, streaming):
        super().__init__(
            Identity(0x1BCF, 0x2281, 0x0100, (0xEF, 2, 1), HIGH_SPEED, "dexumi", "Test Camera", serial)
        )
        # Called in a thread of its own with (camera, mode, rate) for each stream.
        self._streaming = streaming
        self.controls = controls()
        # What the guest set, in order: name and value.
        self.settings: list[tuple[str, int]] = []
        # How often a stream was started, and what is committed.
        self.streams = 0
        self._probe = self._committed = self._negotiated(1, INTERVAL_HZ // 30)
        self._work = threading.Condition(self.lock)
        self._parity = 0
        self._began = time.monotonic()

    # Descriptors.

    def interfaces(self):
        return [Interface(0, 14, 1, 0), Interface(1, 14, 2, 0)]

    def endpoints(self):
        return [Endpoint(ENDPOINT, BULK_ENDPOINT, 0, 1, 512)]

    def _bits(self, unit: int, size: int) -> bytes:
        bits = sum(1 << control.bit for control in self.controls if control.unit == unit)
        return bits.to_bytes(size, "little")

    def configuration(self):
        sensor, usb = 0x0201, 0x0101  # kinds of terminals
        units = (
            struct.pack("<BBBBHBBHHHB", 18, 0x24, 2, TERMINAL, sensor, 0, 0, 0, 0, 0, 3)
            + self._bits(TERMINAL, 3)
            + struct.pack("<BBBBBHB", 11, 0x24, 5, PROCESSING_UNIT, TERMINAL, 0, 2)
            + self._bits(PROCESSING_UNIT, 2) + b"\0"
            + struct.pack("<BBBBHBBB", 9, 0x24, 3, OUTPUT, usb, 0, PROCESSING_UNIT, 0)
        )
        head = struct.pack("<BBBHHIBB", 13, 0x24, 1, 0x0100, 13 + len(units), CLOCK_HZ, 1, 1)
        formats = struct.pack("<BBBBBBBBBBB", 11, 0x24, 6, 1, len(MODES), 1, 1, 0, 0, 0, 0)
        for index, mode in enumerate(MODES, start=1):
            pixels, intervals = mode.width * mode.height, mode.intervals()
            formats += struct.pack(
                "<BBBBBHHIIIIB", 26 + 4 * len(intervals), 0x24, 7, index, 0, mode.width, mode.height,
                pixels * 16 * min(mode.rates), pixels * 16 * max(mode.rates), pixels * 2,
                intervals[0], len(intervals),
            ) + struct.pack(f"<{len(intervals)}I", *intervals)
        formats += bytes([6, 0x24, 13, 1, 1, 4])
        streaming = struct.pack(
            "<BBBBHBBBBBBBB", 14, 0x24, 1, 1, 14 + len(formats), ENDPOINT, 0, OUTPUT, 0, 0, 0, 1, 0
        )
        body = (
            bytes([8, 11, 0, 2, 14, 3, 0, 0])
            + interface_descriptor(0, 0, (14, 1, 0)) + head + units
            + interface_descriptor(1, 1, (14, 2, 0)) + streaming + formats
            + endpoint_descriptor(ENDPOINT, 2, 512)
        )
        return configuration_descriptor(2, body)

    # Requests.

    def request(self, kind, request, value, index, length, data):
        selector, interface, unit = value >> 8, index & 0xFF, index >> 8
        if interface == STREAMING_INTERFACE and selector in (PROBE, COMMIT):
            return self._stream_request(request, selector, data)
        if interface == CONTROL_INTERFACE and unit == 0 and selector == 2 and request == GET_CUR:
            return b"\0"  # no error to report
        for control in self.controls:
            if (control.unit, control.selector) == (unit, selector):
                return self._control_request(request, control, data)
        return None

    def _control_request(self, request: int, control: Control, data: bytes):
        if request == SET_CUR:
            (control.value,) = struct.unpack(control.form, data[: struct.calcsize(control.form)])
            self.settings.append((control.name, control.value))
            return b""
        if request == GET_LEN:
            return struct.pack("<H", struct.calcsize(control.form))
        if request == GET_INFO:
            return b"\x03"  # can be read and set
        numbers = {
            GET_CUR: control.value, GET_MIN: control.least, GET_MAX: control.greatest,
            GET_RES: control.step, GET_DEF: control.value,
        }
        return struct.pack(control.form, numbers[request]) if request in numbers else None

    def _negotiated(self, index: int, interval: int) -> bytes:
        """The nearest that the camera can do, as probe and commit say it."""
        index = min(max(index, 1), len(MODES))
        mode = MODES[index - 1]
        nearest = min(mode.intervals(), key=lambda offered: abs(offered - interval))
        return struct.pack(
            "<HBBIHHHHHII", 1, 1, index, nearest, 0, 0, 0, 0, 0, mode.width * mode.height * 2, PAYLOAD_BYTES
        )

    def _stream_request(self, request: int, selector: int, data: bytes):
        if request == SET_CUR:
            agreed = self._negotiated(data[3], struct.unpack_from("<I", data, 4)[0])
            if selector == PROBE:
                self._probe = agreed
            else:
                self._committed = agreed
                self._start()
            return b""
        if request == GET_LEN:
            return struct.pack("<H", len(self._probe))
        if request == GET_INFO:
            return b"\x03"
        if request in (GET_CUR, GET_MIN, GET_MAX, GET_DEF):
            return self._committed if selector == COMMIT else self._probe
        return None

    # Images.

    def _start(self) -> None:
        with self.lock:
            self.streams += 1
            number = self.streams
        mode = MODES[self._committed[3] - 1]
        rate = round(INTERVAL_HZ / struct.unpack_from("<I", self._committed, 4)[0])
        threading.Thread(
            target=self._streaming, args=(self, number, mode, rate), name="images", daemon=True
        ).start()

    def is_streaming(self, number: int) -> bool:
        """Whether this is still the stream that the guest wants."""
        return self.streams == number and not self.gone.is_set()

    def halt_cleared(self, endpoint):
        # With this the driver ends a stream of a bulk endpoint.
        with self.lock:
            self.streams += 1
            self._work.notify_all()

    def transfer_wanted(self):
        with self.lock:
            self._work.notify_all()

    def unplugged(self):
        with self.lock:
            self._work.notify_all()

    def send(self, stream: int, data: bytes, is_damaged: bool = False):
        """Sends an image, as fast as the guest asks for it: when its first and its last
        part left [s, CLOCK_MONOTONIC]; None where the stream ended before."""
        first = None
        stamp = int((time.monotonic() - self._began) * CLOCK_HZ) & 0xFFFF_FFFF
        for at in range(0, len(data), PAYLOAD_BYTES - HEADER_BYTES):
            part = data[at : at + PAYLOAD_BYTES - HEADER_BYTES]
            bits = END_OF_HEADER | HAS_TIME | HAS_CLOCK | self._parity
            if at + len(part) == len(data):
                bits |= END_OF_IMAGE | (IS_DAMAGED if is_damaged else 0)
            payload = struct.pack("<BBIIH", HEADER_BYTES, bits, stamp, stamp, 0) + part
            with self.lock:
                while self.is_streaming(stream) and not self.answer_transfer(lambda _, p=payload: p):
                    self._work.wait()
                if not self.is_streaming(stream):
                    return None
            last = time.monotonic()
            first = first or last
        self._parity ^= 1
        return first, last
