#!/usr/bin/env python3
"""Hand Tracking Streamer over a cable to dexumi's driver `hts`: the app's TCP lines, brought
by `adb reverse tcp:8000 tcp:8000`, passed on as UDP packets.

    hts_tcp_to_udp.py --port 9000
"""

import argparse
import socket


def main():
    parser = argparse.ArgumentParser(description="Hand Tracking Streamer by cable to dexumi.")
    parser.add_argument("--listen", type=int, default=8000, help="port of adb reverse")
    parser.add_argument("--host", default="127.0.0.1", help="the recorder's computer")
    parser.add_argument("--port", type=int, default=9000)
    options = parser.parse_args()
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server = socket.create_server(("127.0.0.1", options.listen))
    while True:
        app, _ = server.accept()
        app.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with app, app.makefile("rb") as lines:
            for line in lines:
                sender.sendto(line, (options.host, options.port))


if __name__ == "__main__":
    main()
