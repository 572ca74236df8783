"""From configuration to a live input: which device, which channels."""

from __future__ import annotations

import logging

from kwsd.block import BLOCK_SAMPLES, SAMPLE_RATE_HZ
from kwsd.capture.cards import capture_cards
from kwsd.capture.device import CaptureDevice, DeviceRequest
from kwsd.capture.native import load_library
from kwsd.config_schema import AudioSettings
from kwsd.errors import ConfigError
from kwsd.profile import Profile, load_profile, profile_names
from kwsd.source.channels import map_channels
from kwsd.source.live import LiveInput, LiveSettings

log = logging.getLogger(__name__)

_DEFAULT_CHANNELS = 2


def period_ms_of(audio: AudioSettings) -> int:
    """Length of one delivery: as configured, else what costs least without adding latency.

    A delivery that is just a block wakes the daemon once a block, and its last sample completes
    one. Behind a resampler, which holds samples back, the two would lie a delivery apart.
    """
    if audio.period_ms is not None:
        return audio.period_ms
    return 1000 * BLOCK_SAMPLES // SAMPLE_RATE_HZ if audio.rate_hz == SAMPLE_RATE_HZ else 20


def device_channels(audio: AudioSettings) -> int:
    """Channels to open: as configured, else as many as the channel map needs.

    Raises
    ------
    ConfigError
        ``audio.channels`` is too small for a channel that is named.
    """
    named = (*(audio.mics or ()), *(audio.reference or ()))
    needed = max(named) + 1 if named else 1
    if audio.channels is None:
        return max(needed, _DEFAULT_CHANNELS if audio.mics is None else 1)
    if audio.channels < needed:
        raise ConfigError(
            f"audio.channels = {audio.channels}: channel {needed - 1} is named in audio.mics or "
            f"audio.reference; must be at least {needed}"
        )
    return audio.channels


def live_input(audio: AudioSettings) -> LiveInput:
    """The input of a configuration; its device is opened by its first read.

    Raises
    ------
    ConfigError
        Channels that do not fit together.
    RuntimeUnavailable
        There is no capture library: no device will ever open.
    """
    if audio.backend == "alsa":
        load_library()
    channels = device_channels(audio)
    request = DeviceRequest(
        audio.device,
        channels,
        audio.rate_hz,
        period_ms=period_ms_of(audio),
        realtime_priority=audio.realtime_priority,
    )
    mixer = None
    if audio.profile is not None:
        from kwsd.capture.mixer import ProfileMixer

        profile = load_profile(audio.profile)
        mixer = ProfileMixer(profile, audio.device)
        if profile.evidence != "board":
            log.info("%s is from documents; kwsctl doctor tells whether it fits", profile.origin)

    def open_device() -> CaptureDevice:
        if mixer is not None:
            mixer.apply()
        return _open(audio.backend, request)

    return LiveInput(
        open_device,
        LiveSettings(audio.device, audio.rate_hz, channels, audio.discard_ms),
        map_channels(channels, audio.mics, audio.reference),
    )


def list_devices() -> str:
    """Capture devices for people, one a line."""
    cards = capture_cards()
    lines = [f"{card.device:<40} {card.description}" for card in cards]
    if not lines:
        lines = [
            "no ALSA capture card; audio.device may still name an ALSA plugin (default, pulse)"
        ]
    rate = f"audio.rate_hz = {SAMPLE_RATE_HZ}"
    return "\n".join(
        [
            *lines,
            f"use one as audio.device, with audio.channels and {rate}",
            "or name a board as audio.profile:",
            *(_profile_line(load_profile(name)) for name in profile_names()),
            "",
        ]
    )


def _profile_line(profile: Profile) -> str:
    tried = "" if profile.evidence == "board" else " (from documents, never tried on the board)"
    return f"  {profile.name:<16} {profile.description}{tried}"


def _open(backend: str, request: DeviceRequest) -> CaptureDevice:
    if backend == "portaudio":
        from kwsd.capture.portaudio import PortAudioDevice

        return PortAudioDevice(request)
    from kwsd.capture.alsa import AlsaDevice

    return AlsaDevice(request)
