#!/usr/bin/env python3
"""Qualisys Track Manager to dexumi's driver `udp_json`, by Qualisys' Python SDK `qtm_rt`
(pip install qtm-rt).

    qualisys_to_udp.py 192.168.1.9 --body wrist --body head

Sequence and time are QTM's frame number and its timestamp in microseconds. Millimetres
become metres and the rotation matrix, which comes column by column, a quaternion. A body
that is not seen is NaN in QTM's stream and is left out. Axes are those of QTM's
calibration, usually z up. Not yet run with a Qualisys system by us.
"""

import argparse
import asyncio
import math
import sys
import xml.etree.ElementTree as ET

from udp_sender import Sender


def quaternion(m):
    """x, y, z, w of a rotation matrix in columns."""
    r = lambda row, column: m[3 * column + row]
    # The largest of the four first: no small number is divided by.
    trace = r(0, 0) + r(1, 1) + r(2, 2)
    squares = [2 * r(0, 0) - trace, 2 * r(1, 1) - trace, 2 * r(2, 2) - trace, trace]
    largest = max(range(4), key=lambda i: squares[i])
    size = math.sqrt(max(0.0, 1.0 + squares[largest])) / 2.0
    if largest == 3:
        q = [r(2, 1) - r(1, 2), r(0, 2) - r(2, 0), r(1, 0) - r(0, 1)]
        return [value / (4.0 * size) for value in q] + [size]
    i, j, k = largest, (largest + 1) % 3, (largest + 2) % 3
    q = [0.0] * 4
    q[i] = size
    q[j] = (r(j, i) + r(i, j)) / (4.0 * size)
    q[k] = (r(k, i) + r(i, k)) / (4.0 * size)
    q[3] = (r(k, j) - r(j, k)) / (4.0 * size)
    return q


async def run(options):
    try:
        import qtm_rt
    except ImportError:
        sys.exit("module `qtm_rt` is missing: pip install qtm-rt")
    connection = await qtm_rt.connect(options.server)
    if connection is None:
        sys.exit("QTM does not answer at %s" % options.server)
    settings = ET.fromstring(await connection.get_parameters(parameters=["6d"]))
    bodies = [body.text.strip() for body in settings.findall("*/Body/Name")]
    unknown = set(options.body) - set(bodies)
    if unknown:
        sys.exit("QTM has no %s, but: %s" % (", ".join(unknown), ", ".join(bodies)))
    sender = Sender(options.host, options.port, clock=None)

    def on_packet(packet):
        _, poses = packet.get_6d()
        for name, (position, rotation) in zip(bodies, poses):
            if name in options.body and not math.isnan(position.x):
                metres = [position.x / 1000.0, position.y / 1000.0, position.z / 1000.0]
                sender.pose(
                    name, metres, quaternion(rotation.matrix),
                    t=packet.timestamp / 1e6, seq=packet.framenumber,
                )

    await connection.stream_frames(components=["6d"], on_packet=on_packet)
    await asyncio.Event().wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server", help="QTM's computer")
    parser.add_argument("--body", action="append", required=True, metavar="NAME")
    parser.add_argument("--host", default="127.0.0.1", help="the recorder's computer")
    parser.add_argument("--port", type=int, default=9005)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
