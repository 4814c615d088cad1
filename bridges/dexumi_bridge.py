#!/usr/bin/env python3
"""The Python side of the packet between a bridge and dexumi's driver `bridge`.

The packet is specified in docs/bridge-packet.md. This file needs Python 3.8 and
nothing else. A bridge describes its streams and gives a function that sends:

    import dexumi_bridge as bridge

    def source(link, wanted):
        while not link.closed:
            image = camera.next()
            link.jpeg("color", image.jpeg, image.sequence, device_ns=image.time_ns)

    bridge.serve("my bridge 1.0", [bridge.stream("color", "jpeg")], source,
                 clock="camera's clock, start of the exposure")

The driver starts it (options.command in the rig) or connects to it (--listen
tcp:0.0.0.0:5570 or --listen unix:/run/user/1000/bridge). Run by itself, this file
is a bridge to devices that it makes up.
"""

import argparse
import json
import math
import os
import socket
import struct
import sys
import threading
import time
import zlib

MAGIC = b"DXBP"
VERSION = 1
NO_STREAM = 0xFFFF

HELLO, TAKE, LOG, ABOUT, ECHO_REQUEST, ECHO_REPLY = 1, 2, 3, 4, 5, 6
JPEG, RAW, DEPTH, IMU, POSE, HAND = 0x10, 0x11, 0x12, 0x20, 0x21, 0x22

DEVICE_TIME, SENT_TIME, EXPOSURE, VALID, WARNING = 1, 2, 4, 8, 16

HEADER = struct.Struct("<4sBBHIIqqQII")
HEADER_CRC = struct.Struct("<I")
HEADER_BYTES = HEADER.size + HEADER_CRC.size
IMAGE_HEAD = struct.Struct("<IIIfffff")


def stream(name, kind, **more):
    """Describes a stream: kind is jpeg, raw, depth, imu, pose or hand; more is
    sequence, frame, encoding (raw), joints and points (hand)."""
    return dict(name=name, kind=kind, **more)


FINGERS = ("thumb", "index", "middle", "ring", "little")
BONES = ("metacarpal", "proximal", "intermediate", "distal", "tip")


def points_of(joints):
    """The 21 points of a hand by the names of its joints: `wrist`, and a finger and the
    bone that begins at the joint, such as `index_proximal`, or `index_tip`. A finger's
    points are its last four joints: a metacarpal's base is not one of them, but for the
    thumb's."""
    places = {name: place for place, name in enumerate(joints)}
    points = [places.get("wrist")]
    for finger in FINGERS:
        names = (f"{finger}_{bone}" for bone in BONES)
        chain = [places[name] for name in names if name in places][-4:]
        points += [None] * (4 - len(chain)) + chain
    return points


def encode(kind, stream, payload=b"", sequence=0, device_ns=None, sent_ns=None,
           exposure_us=None, valid=True, warning=False):
    """One packet as it goes over the wire."""
    flags = (DEVICE_TIME * (device_ns is not None) | SENT_TIME * (sent_ns is not None)
             | EXPOSURE * (exposure_us is not None) | VALID * valid | WARNING * warning)
    head = HEADER.pack(MAGIC, VERSION, kind, stream, flags, len(payload), device_ns or 0,
                       sent_ns or 0, sequence, exposure_us or 0, zlib.crc32(payload))
    return head + HEADER_CRC.pack(zlib.crc32(head)) + payload


class Closed(Exception):
    """The driver has closed the connection: a source ends."""


class Link:
    """A connection to the driver. Its methods may be called from any thread."""

    def __init__(self, connection, name, streams, clock, now):
        self.closed = False
        self.wanted = None
        self._socket = connection
        self._places = {stream["name"]: place for place, stream in enumerate(streams)}
        self._now = now
        self._sending = threading.Lock()
        self._taken = threading.Event()
        hello = dict(bridge=name, clock=clock, echo=now is not None, streams=streams)
        self._send(HELLO, NO_STREAM, json.dumps(hello).encode())
        threading.Thread(target=self._listen, daemon=True, name="orders").start()

    # What a source sends. `sequence` is the device's own count of the samples of
    # a stream: from its gaps the driver knows what never came.

    def jpeg(self, stream, jpeg, sequence, width=0, height=0, intrinsics=None, **stamps):
        """A whole JPEG. `intrinsics` are fx, fy, cx, cy in pixels."""
        self._image(JPEG, stream, jpeg, sequence, width, height, 0, 0.0, intrinsics, stamps)

    def raw(self, stream, pixels, sequence, width, height, step, intrinsics=None, **stamps):
        """Pixels, in rows of `step` bytes, encoded as the stream's description says."""
        self._image(RAW, stream, pixels, sequence, width, height, step, 0.0, intrinsics, stamps)

    def depth(self, stream, depths, sequence, width, height, unit_m=0.001, intrinsics=None, **stamps):
        """Depths of 16 bits, little-endian, in units of `unit_m`; 0 where nothing was
        measured."""
        self._image(DEPTH, stream, depths, sequence, width, height, 2 * width, unit_m,
                    intrinsics, stamps)

    def imu(self, stream, acceleration, angular_velocity, sequence, **stamps):
        """Acceleration with gravity [m/s²], angular velocity [rad/s]."""
        self._data(IMU, stream, struct.pack("<6d", *acceleration, *angular_velocity),
                   sequence, stamps)

    def pose(self, stream, position, rotation, sequence, valid=True, mean_error=0.0, **stamps):
        """Position [m] and quaternion x, y, z, w in a right-handed world, z up."""
        self._data(POSE, stream, struct.pack("<8d", *position, *rotation, mean_error),
                   sequence, dict(stamps, valid=valid))

    def hand(self, stream, sequence, points=(), joints=(), valid=True, **stamps):
        """21 points [m] (wrist, thumb to little finger, base to tip; NaN where there is
        none) or none, and joints as (position, quaternion x, y, z, w)."""
        payload = struct.pack("<HH", len(points), len(joints))
        payload += b"".join(struct.pack("<3f", *point) for point in points)
        payload += b"".join(struct.pack("<7f", *position, *rotation)
                            for position, rotation in joints)
        self._data(HAND, stream, payload, sequence, dict(stamps, valid=valid))

    def log(self, text, warning=False, stream=None):
        """A sentence for the log of the episode."""
        self._send(LOG, self._place(stream), text.encode(), warning=warning)

    def about(self, stream=None, **facts):
        """What a device says of itself: serial number, firmware, settings as read back."""
        self._send(ABOUT, self._place(stream), json.dumps(facts, default=str).encode())

    def wants(self, stream):
        """Whether the driver asked for this stream."""
        return stream in self.wanted

    def wait(self):
        """Waits until the driver says which streams it wants."""
        self._taken.wait()
        if self.closed:
            raise Closed
        return self.wanted

    def close(self):
        """Ends the connection."""
        self.closed = True
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()

    def _place(self, stream):
        return NO_STREAM if stream is None else self._places[stream]

    def _image(self, kind, stream, image, sequence, width, height, step, unit_m, intrinsics, stamps):
        if not self.wants(stream):
            return
        head = IMAGE_HEAD.pack(width, height, step, unit_m, *(intrinsics or (math.nan,) * 4))
        self._data(kind, stream, head + bytes(image), sequence, stamps)

    def _data(self, kind, stream, payload, sequence, stamps):
        if self.wants(stream):
            self._send(kind, self._places[stream], payload, sequence=sequence, **stamps)

    def _send(self, kind, place, payload=b"", **fields):
        packet = encode(kind, place, payload, **fields)
        with self._sending:
            self._send_bytes(packet)

    def _send_bytes(self, packet):
        if self.closed:
            raise Closed
        try:
            self._socket.sendall(packet)
        except OSError as error:
            self.closed = True
            raise Closed from error

    def _listen(self):
        try:
            while True:
                kind, sequence, payload = self._receive()
                if kind == TAKE:
                    names = list(self._places)
                    self.wanted = {names[place] for place in json.loads(payload)["streams"]}
                    self._taken.set()
                elif kind == ECHO_REQUEST and self._now is not None:
                    with self._sending:
                        # Read after waiting for the connection, so that the answer
                        # is as young as can be.
                        self._send_bytes(encode(ECHO_REPLY, NO_STREAM, sequence=sequence,
                                                device_ns=self._now()))
        except (Closed, OSError, ValueError):
            pass
        finally:
            self.closed = True
            self._taken.set()

    def _receive(self):
        head = self._exactly(HEADER_BYTES)
        fields = HEADER.unpack(head[:HEADER.size])
        magic, version, kind, _, _, length, _, _, sequence, _, payload_crc = fields
        if magic != MAGIC or version != VERSION or length > 1 << 20:
            raise ValueError("not an order")
        payload = self._exactly(length)
        if (zlib.crc32(head[:HEADER.size]) != HEADER_CRC.unpack(head[HEADER.size:])[0]
                or zlib.crc32(payload) != payload_crc):
            raise ValueError("damaged order")
        return kind, sequence, payload

    def _exactly(self, count):
        data = bytearray()
        while len(data) < count:
            part = self._socket.recv(count - len(data))
            if not part:
                raise Closed
            data += part
        return bytes(data)


def serve(name, streams, source, clock=None, now=None, listen=None):
    """Runs `source(link, wanted)` for the driver: once as its child, else again for
    each connection. `clock` says what the time stamps are; `now` gives the time on that
    clock [ns], where it can be read at any time."""
    if os.environ.get("DEXUMI_BRIDGE") == "stdin":
        _attend(socket.socket(fileno=0), name, streams, source, clock, now)
        return
    if listen is None:
        sys.exit("not started by dexumi: give --listen tcp:HOST:PORT or --listen unix:PATH")
    family, _, place = listen.partition(":")
    if family == "unix":
        if os.path.exists(place):
            os.unlink(place)
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(place)
    elif family == "tcp":
        host, _, port = place.rpartition(":")
        server = socket.create_server((host, int(port)))
    else:
        sys.exit(f"--listen {listen}: expected tcp:HOST:PORT or unix:PATH")
    server.listen(1)
    print(f"listening at {listen}", file=sys.stderr, flush=True)
    while True:
        connection, _ = server.accept()
        if family == "tcp":
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _attend(connection, name, streams, source, clock, now)


def _attend(connection, name, streams, source, clock, now):
    link = None
    try:
        link = Link(connection, name, streams, clock, now)
        source(link, link.wait())
    except Closed:
        pass
    except Exception as error:
        # The driver should say why; whoever reads this program's output too.
        if link is not None and not link.closed:
            link.log(f"{type(error).__name__}: {error}", warning=True)
        raise
    finally:
        if link is not None:
            link.close()


def arguments(description):
    """A parser of the command line with what all bridges have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--listen", metavar="ADDRESS", help="tcp:HOST:PORT or unix:PATH, "
                        "where dexumi connects to; not needed when dexumi starts the bridge")
    return parser


# Devices that are made up: for a first look, and for the tests of the driver.

def _grey_jpeg(text):
    """A grey JPEG of 8x8 pixels (ITU T.81) with a comment."""
    def segment(marker, data):
        return struct.pack(">BBH", 0xFF, marker, 2 + len(data)) + data

    one_code = bytes([1] + [0] * 15 + [0])
    return b"".join([
        b"\xff\xd8",
        segment(0xFE, text.encode()),
        segment(0xDB, bytes([0] + [1] * 64)),
        segment(0xC0, struct.pack(">BHHBBBB", 8, 8, 8, 1, 1, 0x11, 0)),
        segment(0xC4, b"\x00" + one_code),
        segment(0xC4, b"\x10" + one_code),
        segment(0xDA, bytes([1, 1, 0, 0, 63, 0])),
        b"\x3f\xff\xd9",
    ])


def _made_up(seconds):
    """Streams and source. Their clock began with the program and is 200 ppm fast."""
    began = time.monotonic_ns()

    def now():
        return (time.monotonic_ns() - began) * 10002 // 10000

    streams = [
        stream("color", "jpeg", sequence="device", frame="camera, x right, y down"),
        stream("depth", "depth", sequence="device"),
        stream("imu", "imu", sequence="device"),
        stream("wrist", "pose", sequence="device", frame="made up, z up"),
        stream("hand", "hand", sequence="device", joints=["wrist", "index_tip"],
               points=points_of(["wrist", "index_tip"])),
    ]

    def source(link, wanted):
        link.about(serial="0001", firmware="made up")
        link.log(f"sends {', '.join(sorted(wanted))}")
        number = 0
        while seconds is None or number < 100 * seconds:
            due = began + 10_000_000 * (number + 1)
            time.sleep(max(0.0, (due - time.monotonic_ns()) * 1e-9))
            t = number * 0.01
            stamps = dict(device_ns=now())
            link.imu("imu", (0.0, 0.0, 9.81), (math.sin(t), 0.0, t), number, **stamps)
            link.pose("wrist", (math.sin(t), 0.0, 1.0), (0.0, 0.0, 0.0, 1.0), number,
                      valid=number % 10 != 9, **stamps)
            joints = [((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)),
                      ((0.0, 0.01, 0.1 + 0.01 * math.sin(t)), (0.0, 0.0, 0.0, 1.0))]
            link.hand("hand", number, joints=joints, **stamps)
            if number % 3 == 0:
                image = number // 3
                intrinsics = (600.0, 601.0, 4.0, 4.0)
                link.jpeg("color", _grey_jpeg(f"image {image}"), image, 8, 8, intrinsics,
                          exposure_us=5000, **stamps)
                depths = struct.pack("<12H", *range(1000 + image, 1012 + image))
                link.depth("depth", depths, image, 4, 3, **stamps)
            number += 1
        link.log("the time that it was given is over", warning=True)
        print("made-up devices end here", file=sys.stderr)

    return streams, source, now


def main():
    parser = arguments("A bridge to devices that are made up.")
    parser.add_argument("--seconds", type=float, help="ends after so long")
    options = parser.parse_args()
    streams, source, now = _made_up(options.seconds)
    serve("dexumi_bridge.py", streams, source, listen=options.listen, now=now,
          clock="began with the program, 200 ppm fast")


if __name__ == "__main__":
    main()
