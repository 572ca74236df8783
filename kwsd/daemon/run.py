"""``kwsd`` without ``--replay``: the service, its signals and its bus."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

from kwsd.config import Config
from kwsd.config_files import readers
from kwsd.daemon.file_limit import raise_file_limit
from kwsd.daemon.input import live_input
from kwsd.daemon.notify import Notifier
from kwsd.daemon.saved_state import FILE_NAME, StateFile, state_directory
from kwsd.daemon.service import Service
from kwsd.errors import ConfigError
from kwsd.sink.endpoint import CONTROL_SOCKET, default_endpoint
from kwsd.sink.zmq import open_bus


def run_service(config: Config, load: Callable[[], Config]) -> None:
    """Listen until SIGTERM or SIGINT; SIGHUP reads the configuration again.

    Parameters
    ----------
    config : Config
        Checked configuration.
    load : callable
        Reads it again.

    Raises
    ------
    KwsdError
        What prevents the start.
    """
    _refuse_unread(config)
    raise_file_limit()
    bus = open_bus(config.bus)

    def load_again() -> Config:
        again = load()
        _refuse_unread(again)
        return again

    try:
        state = StateFile(state_directory() / FILE_NAME)
        service = Service(config, load_again, live_input, bus, Notifier(), state)
        service.listen_to(
            config.bus.control_endpoint or default_endpoint(socket_name=CONTROL_SOCKET)
        )

        def stop(number: int, frame: FrameType | None) -> None:
            service.requests.stop = True

        def reload(number: int, frame: FrameType | None) -> None:
            service.requests.reload = True

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGHUP, reload)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        try:
            service.run()
        finally:
            service.close()
    finally:
        bus.close()


def _refuse_unread(config: Config) -> None:
    """A replay can do without the installed files; what listens must not fall back to defaults."""
    for path in config.unread:
        raise ConfigError(
            f"{path} cannot be read by this user, and the service needs it ({readers(path)} may); "
            "start it as one of those, or name a file with --config"
        )
