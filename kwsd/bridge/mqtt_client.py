"""paho's client, with a network thread that cannot end unseen."""

from __future__ import annotations

import logging

from paho.mqtt.client import Client, error_string
from paho.mqtt.enums import MQTTErrorCode

log = logging.getLogger(__name__)


class NetworkClient(Client):
    """A client that says why its network thread has ended.

    What paho does not expect ends that thread alone: the program would live on without a broker.
    """

    ended = ""
    """Why; empty while it runs."""

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
