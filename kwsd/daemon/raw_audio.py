"""The command ``raw`` of the control socket: what the device delivers, all channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kwsd.capture.health import AudioState
from kwsd.daemon.control import Attachment
from kwsd.errors import UsageError
from kwsd.source.live import LiveInput


def raw_audio(source: LiveInput, request: Mapping[str, Any]) -> Attachment:
    """Audio from a position on, and how to read it.

    Parameters
    ----------
    source : LiveInput
        Input of the service.
    request : mapping
        ``from_frame`` and ``stream`` of the answer before; neither in the first request.

    Raises
    ------
    UsageError
        Muted, or the input is another one than the one the recording began with.
    """
    from_frame = request.get("from_frame")
    if from_frame is not None and (type(from_frame) is not int or from_frame < 0):
        raise UsageError(f"from_frame {str(from_frame)[:40]}: must be a position in frames")
    # A reload that changes [audio] makes another input: its frames must not be glued to these.
    stream = source.raw.token
    if request.get("stream", stream) != stream:
        raise UsageError("the input was changed by a reload of the configuration")
    if source.health.state is AudioState.MUTED:
        raise UsageError("the microphone is muted; kwsctl unmute opens it")
    if from_frame is not None and not source.raw.is_open:
        raise UsageError("the microphone was muted meanwhile, or nobody has asked for seconds")
    info, excerpt = source.info, source.raw.fetch(from_frame)
    reference = source.channel_map.reference
    return Attachment(
        {
            "stream": stream,
            "first_frame": excerpt.first_frame,
            "next_frame": excerpt.next_frame,
            "lost_frames": excerpt.lost_frames,
            "holes": excerpt.holes,
            "rate_hz": info.sample_rate_hz,
            "channels": info.channels,
            "mics": list(source.channel_map.mics),
            "reference": [] if reference is None else [reference],
            "sample_bits": source.sample_bits,
            "device": info.name,
            "state": str(source.health.state),
            "detail": source.health.detail,
            "format": "f32le",
        },
        excerpt.samples.astype("<f4", copy=False).tobytes(),
    )
