#!/usr/bin/env python3
"""Print kwsd's events as they come: needs Python and pyzmq, nothing of kwsd.

    python subscribe.py                                    # the default socket, wakes only
    python subscribe.py --endpoint tcp://127.0.0.1:5577 wake/computer/ health/

A topic is a prefix and ends in a slash. A hole in ``seq`` means that messages were lost.
"""

import argparse
import json
import os
import sys

import zmq


def default_endpoint() -> str:
    """Where kwsd binds if nothing is configured."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    directory = os.path.join(runtime, "kwsd") if runtime else "/run/kwsd"
    return f"ipc://{directory}/events.sock"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--endpoint", default=default_endpoint())
    parser.add_argument("--count", type=int, default=0, help="stop after so many; 0: never")
    parser.add_argument(
        "topics", nargs="*", default=["wake/"], help="such as wake/ or audio/state/"
    )
    options = parser.parse_args()

    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.LINGER, 0)
    # Find out about a publisher that has vanished without saying goodbye.
    socket.setsockopt(zmq.HEARTBEAT_IVL, 5_000)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 15_000)
    for topic in options.topics:
        socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
    socket.connect(options.endpoint)

    expected: dict[str, int] = {}
    received = 0
    try:
        while not options.count or received < options.count:
            topic, payload, *_ = socket.recv_multipart()
            name, event = topic.decode(), json.loads(payload)
            if event["seq"] > expected.get(name, event["seq"]):
                print(f"{name}: {event['seq'] - expected[name]} messages lost", file=sys.stderr)
            expected[name] = event["seq"] + 1
            print(name, json.dumps(event), flush=True)
            received += 1
    except KeyboardInterrupt:
        pass
    finally:
        socket.close()
        context.term()
    return 0


if __name__ == "__main__":
    sys.exit(main())
