#!/usr/bin/env python3
"""A VRPN tracker to dexumi's driver `udp_json`, by VRPN's own Python module `vrpn`
(https://github.com/vrpn/vrpn, folder python).

    vrpn_to_udp.py Tracker0@192.168.1.9 --sensor 0=wrist --sensor 1=head

VRPN's printer, vrpn_print_devices, rounds to two decimals: centimetres. Its times are
the server's clock as VRPN passes it on. There is no sequence: packets are numbered
here, so that only those lost after this program are counted. Axes and units are the
server's; write them into the rig (options axes, unit). Not yet run with a server by us.
"""

import argparse
import sys

from udp_sender import Sender


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tracker", help="such as Tracker0@192.168.1.9")
    parser.add_argument("--sensor", action="append", required=True, metavar="NUMBER=NAME")
    parser.add_argument("--host", default="127.0.0.1", help="the recorder's computer")
    parser.add_argument("--port", type=int, default=9005)
    options = parser.parse_args()
    names = dict(pair.split("=", 1) for pair in options.sensor)
    try:
        import vrpn
    except ImportError:
        sys.exit("module `vrpn` is missing: build VRPN with VRPN_BUILD_PYTHON_HANDCODED_3X")
    sender = Sender(options.host, options.port, clock=None)

    def moved(_, report):
        name = names.get(str(report["sensor"]))
        if name is not None:
            sender.pose(
                name, list(report["position"]), list(report["quaternion"]),
                t=report["time"].timestamp(),
            )

    tracker = vrpn.receiver.Tracker(options.tracker)
    tracker.register_change_handler(None, moved, "position")
    while True:
        tracker.mainloop()


if __name__ == "__main__":
    main()
