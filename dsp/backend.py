"""Which twin of the DSP stage runs: the native core, or numpy where it was not built."""

from __future__ import annotations

import logging
from collections.abc import Collection

from kwsd.dsp.frontend import FrontEnd
from kwsd.dsp.frontend_config import FrontEndConfig
from kwsd.dsp.native import NativeMissing
from kwsd.dsp.native_frontend import NativeFrontEnd
from kwsd.errors import RuntimeUnavailable

log = logging.getLogger(__name__)


def open_front_end(
    config: FrontEndConfig,
    microphones: int,
    has_reference: bool,
    features: Collection[str] = ("detector",),
) -> FrontEnd | NativeFrontEnd:
    """The front end that ``dsp.backend`` asks for.

    Parameters
    ----------
    config : FrontEndConfig
        What runs, and on which backend.
    microphones : int
        1 or 2.
    has_reference : bool
        Whether blocks carry what the loudspeaker plays.
    features : collection of str
        Signals whose features somebody wants; the numpy stage leaves all to its caller.

    Raises
    ------
    RuntimeUnavailable
        ``native`` is asked for and not there.
    """
    if config.backend != "numpy":
        try:
            stage = NativeFrontEnd(config, microphones, has_reference, features=features)
        except NativeMissing as error:
            if config.backend == "native":
                raise RuntimeUnavailable(
                    f"dsp.backend = native: {error}; or set dsp.backend to auto or numpy"
                ) from None
            log.warning("DSP stage runs on numpy, at some ten times the cost: %s", error)
        else:
            log.info("DSP stage runs on the native core, %d kB of state", stage.state_bytes // 1024)
            return stage
    else:
        log.info("DSP stage runs on numpy")
    return FrontEnd(config, microphones, has_reference)
