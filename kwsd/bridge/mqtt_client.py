"""paho's client, with a network thread that cannot end unseen."""

from __future__ import annotations

import logging

from paho.mqtt.client import Client, error_string
from paho.mqtt.enums import MQTTErrorCode

log = logging.getLogger(__name__)

LARGEST_PACKET_BYTES = 65_536
"""What is meant for the bridge is a word."""


class NetworkClient(Client):
    """A client that says why its network thread has ended.

    What paho does not expect ends that thread alone: the program would live on without a broker.
    """

    ended = ""
    """Why; empty while it runs."""

    too_large = False
    """Whether somebody sent what is no message for us: nothing is subscribed to any more."""

    def _sock_recv(self, bufsize: int) -> bytes:
        # paho takes whatever a packet says, up to 256 MB, and a retained one comes again with
        # each connection.
        length = self._in_packet["remaining_length"]
        if length > LARGEST_PACKET_BYTES:
            self.too_large = True
            raise ConnectionError(f"a message of {length} bytes came")
        return super()._sock_recv(bufsize)

    def loop_forever(
        self, timeout: float = 1.0, retry_first_connection: bool = False
    ) -> MQTTErrorCode:
        """Runs in the thread of `loop_start`, as paho documents; raises nothing."""
        code = MQTTErrorCode.MQTT_ERR_UNKNOWN
        try:
            code = super().loop_forever(timeout, retry_first_connection)
            self.ended = error_string(code)
        except Exception as error:
            log.debug("the network thread has ended", exc_info=True)
            self.ended = repr(error)
        return code
