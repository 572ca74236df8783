#!/usr/bin/env python3
"""Print kwsd's events as they come: needs Python and pyzmq, nothing of kwsd.

    python subscribe.py                                    # the default socket, wakes only
    python subscribe.py --endpoint tcp://127.0.0.1:5570 wake/computer/ health/
    python subscribe.py --endpoint tcp://kitchen.lan:5577 \\
        --key-file me.key_secret --server-key-file bus.key     # the encrypted endpoint

A topic is a prefix and ends in a slash. A hole in ``seq`` means that messages were lost.
"""

import argparse
import json
import os
import sys

import zmq
import zmq.auth

SYSTEM_SOCKET = "/run/kwsd/events.sock"
BEAT = "health/beat/"
SILENT_S = 30
"""The daemon has a beat each second: without a message for so long, subscribe anew."""


def default_endpoint() -> str:
    """Where kwsd binds if nothing is configured: the user's own, or the system's service."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    path = os.path.join(runtime, "kwsd", "events.sock") if runtime else SYSTEM_SOCKET
    found = os.path.exists(path) or not os.path.exists(SYSTEM_SOCKET)
    return f"ipc://{path if found else SYSTEM_SOCKET}"


def use_keys(socket: zmq.Socket, key_file: str, server_key_file: str) -> None:
    """Encrypt with a pair that `kwsctl keygen` made; the daemon must know its public half."""
    try:
        public, secret = zmq.auth.load_certificate(key_file)
        server, _ = zmq.auth.load_certificate(server_key_file)
        if secret is None:
            raise ValueError(f"{key_file} holds no secret key; name the .key_secret file")
        socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
        socket.setsockopt(zmq.CURVE_SERVERKEY, server)
    except (OSError, ValueError, IndexError) as error:
        sys.exit(
            f"subscribe.py: --key-file {key_file}, --server-key-file {server_key_file}: {error}"
        )


def subscribe(context: zmq.Context, options: argparse.Namespace) -> zmq.Socket:
    """A socket that is connected and subscribed."""
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.LINGER, 0)
    # Find out about a publisher that has vanished without saying goodbye.
    socket.setsockopt(zmq.HEARTBEAT_IVL, 5_000)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 15_000)
    socket.setsockopt(zmq.RCVTIMEO, round(SILENT_S * 1000))
    # An IPv6 address stands in brackets.
    socket.setsockopt(zmq.IPV6, int("[" in options.endpoint))
    for topic in [*options.topics, BEAT]:
        socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
    if options.key_file:
        use_keys(socket, options.key_file, options.server_key_file)
    try:
        socket.connect(options.endpoint)
    except zmq.ZMQError:
        sys.exit(
            f"subscribe.py: --endpoint {options.endpoint}: must be ipc:///path or tcp://host:port"
        )
    return socket


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--endpoint", default=default_endpoint())
    parser.add_argument("--count", type=int, default=0, help="stop after so many; 0: never")
    parser.add_argument(
        "topics", nargs="*", default=["wake/"], help="such as wake/ or audio/state/"
    )
    parser.add_argument("--key-file", help="your .key_secret, for the encrypted endpoint")
    parser.add_argument("--server-key-file", help="the daemon's .key")
    options = parser.parse_args()
    if bool(options.key_file) != bool(options.server_key_file):
        parser.error("--key-file and --server-key-file: give both or neither")

    context = zmq.Context()
    socket = subscribe(context, options)

    expected: dict[str, int] = {}
    received = 0
    try:
        while not options.count or received < options.count:
            try:
                topic, payload, *_ = socket.recv_multipart()
            except zmq.Again:
                # ZeroMQ connects again by itself, but never once the daemon has refused the key.
                socket.close()
                socket = subscribe(context, options)
                continue
            name, event = topic.decode(), json.loads(payload)
            if not name.startswith(tuple(options.topics)):
                continue  # a beat that was not asked for
            if event["seq"] > expected.get(name, event["seq"]):
                print(f"{name}: {event['seq'] - expected[name]} messages lost", file=sys.stderr)
            expected[name] = event["seq"] + 1
            print(name, json.dumps(event), flush=True)
            received += 1
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        # Nobody reads any more; what is still buffered would fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        context.destroy(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
