"""Closing of devices: a driver may hold whoever closes it for as long as it likes."""

from __future__ import annotations

import threading

from kwsd.capture.device import CaptureDevice

CLOSE_PATIENCE_S = 0.2
"""Longest wait for a device that does not close: what is wrong must be told meanwhile."""


class Closing:
    """Closes devices, each in a thread of its own, and knows whether the last one hangs."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    @property
    def hangs(self) -> bool:
        """Whether a device is not closed yet."""
        return self._thread is not None and self._thread.is_alive()

    def close(self, device: CaptureDevice) -> None:
        """Close a device; comes back though it hangs."""
        thread = threading.Thread(target=device.close, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the limit of threads is reached: hear on, even if this hangs
            device.close()
            return
        self._thread = thread
        thread.join(CLOSE_PATIENCE_S)

    def ends_within(self, patience_s: float) -> bool:
        """Wait for what is not closed yet; False if it hangs on."""
        if self._thread is not None:
            self._thread.join(patience_s)
        return not self.hangs
