#!/usr/bin/env python3
"""Sends poses and more to dexumi's driver `udp_json` (docs/devices/udp.md). Python 3.8,
nothing else needed.

    from udp_sender import Sender

    sender = Sender("127.0.0.1", 9005)
    sender.pose("wrist", [0.1, 0.2, 1.0], [0, 0, 0, 1], t=time.monotonic())

As a program it reads lines of a name, a time [s] or -, x y z [m] and a quaternion x y z w,
so that one line of shell makes a bridge of anything that prints poses:

    your_tracker | awk '{print "wrist", $1, $2, $3, $4, $5, $6, $7, $8}' | udp_sender.py
"""

import argparse
import collections
import json
import socket
import sys
import threading
import time


class Sender:
    """Numbers the samples of each stream, and answers the recorder's questions for the
    time. `clock` is the one that the times are of, in seconds; None where that is not
    a clock of this computer."""

    def __init__(self, host="127.0.0.1", port=9005, clock=time.monotonic):
        self.clock = clock
        self.sequence = collections.Counter()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect((host, port))
        threading.Thread(target=self._answer, daemon=True).start()

    def send(self, stream, t=None, seq=None, sent=None, **what):
        """Sends one sample; `what` is pose, keypoints, encoders, force, imu or markers."""
        if seq is None:
            seq = self.sequence[stream]
            self.sequence[stream] += 1
        packet = {"stream": stream, "seq": seq, "t": t, "sent": sent, **what}
        packet = {key: value for key, value in packet.items() if value is not None}
        try:
            self.socket.send(json.dumps(packet).encode())
        except ConnectionRefusedError:
            pass  # Nobody records just now.

    def pose(self, stream, position_m, rotation_xyzw, valid=True, error_m=0.0, **more):
        """Sends a pose."""
        pose = {"p": position_m, "q": rotation_xyzw, "valid": valid, "error": error_m}
        self.send(stream, pose=pose, **more)

    def about(self, stream, **about):
        """Says what a stream is of: serial number, firmware, settings."""
        words = {key: str(value) for key, value in about.items()}
        try:
            self.socket.send(json.dumps({"stream": stream, "about": words}).encode())
        except ConnectionRefusedError:
            pass

    def _answer(self):
        while True:
            try:
                question = json.loads(self.socket.recv(512))
                if self.clock is not None:
                    answer = {"echo": question["echo"], "t": self.clock()}
                    self.socket.send(json.dumps(answer).encode())
            except (ConnectionRefusedError, ValueError, KeyError):
                time.sleep(0.1)


def main():
    parser = argparse.ArgumentParser(description="Poses from lines of text to dexumi.")
    parser.add_argument("--host", default="127.0.0.1", help="the recorder's computer")
    parser.add_argument("--port", type=int, default=9005)
    parser.add_argument(
        "--clock", choices=("monotonic", "unix", "other"), default="other",
        help="which clock of this computer the times are of, if one",
    )
    options = parser.parse_args()
    clock = {"monotonic": time.monotonic, "unix": time.time, "other": None}[options.clock]
    sender = Sender(options.host, options.port, clock)
    for number, line in enumerate(sys.stdin, 1):
        words = line.split()
        try:
            name, t, *numbers = words
            t = None if t == "-" else float(t)
            numbers = [float(number) for number in numbers]
            if len(numbers) != 7:
                raise ValueError("%d numbers, expected 7" % len(numbers))
        except ValueError as problem:
            print("line %d: %s" % (number, problem), file=sys.stderr)
            continue
        sender.pose(name, numbers[:3], numbers[3:], t=t)


if __name__ == "__main__":
    main()
