#!/usr/bin/env python3
"""Vicon Tracker or Nexus to dexumi's driver `udp_json`, by Vicon's DataStream SDK and its
Python module `vicon_dssdk`.

    vicon_to_udp.py 192.168.1.9:801 --object wrist --object head

Sequence and time are the cameras': the frame number, and that over the frame rate. The
recorder fits them as any clock, on the arrival of the packets; Vicon's total latency is
told in the file's account of the device. Millimetres become metres here; x forward, y
left, z up. Tracker 4 can send OSC without this program (docs/devices/udp.md). Not yet run
with a Vicon system by us.
"""

import argparse
import sys

from udp_sender import Sender


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server", help="such as 192.168.1.9:801")
    parser.add_argument("--object", action="append", required=True, metavar="NAME")
    parser.add_argument("--host", default="127.0.0.1", help="the recorder's computer")
    parser.add_argument("--port", type=int, default=9005)
    options = parser.parse_args()
    try:
        from vicon_dssdk import ViconDataStream
    except ImportError:
        sys.exit("module `vicon_dssdk` is missing: it comes with Vicon's DataStream SDK")
    client = ViconDataStream.Client()
    client.Connect(options.server)
    client.EnableSegmentData()
    client.SetStreamMode(ViconDataStream.Client.StreamMode.EServerPush)
    mapping = ViconDataStream.Client.AxisMapping
    client.SetAxisMapping(mapping.EForward, mapping.ELeft, mapping.EUp)
    sender = Sender(options.host, options.port, clock=None)
    told = False
    while True:
        try:
            client.GetFrame()
        except ViconDataStream.DataStreamException:
            continue
        number, rate = client.GetFrameNumber(), client.GetFrameRate()
        if not told:
            told = True
            for name in options.object:
                sender.about(name, rate_hz=rate, latency_s=client.GetLatencyTotal())
        for name in options.object:
            try:
                segment = client.GetSubjectRootSegmentName(name)
                millimetres, occluded = client.GetSegmentGlobalTranslation(name, segment)
                rotation, _ = client.GetSegmentGlobalRotationQuaternion(name, segment)
            except ViconDataStream.DataStreamException:
                continue
            position = [value / 1000.0 for value in millimetres]
            sender.pose(name, position, list(rotation), not occluded, t=number / rate, seq=number)


if __name__ == "__main__":
    main()
