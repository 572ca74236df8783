"""Channel mapping: which channels of a recording are microphones, which is the reference."""

from __future__ import annotations

from dataclasses import dataclass

from kwsd.block import FloatArray
from kwsd.errors import ConfigError

MAX_MICROPHONES = 2


@dataclass(frozen=True, slots=True)
class ChannelMap:
    """Channel numbers from 0, as they stand in the file."""

    mics: tuple[int, ...]
    """One or two microphones."""

    reference: int | None
    """What the loudspeaker plays; None without echo cancellation."""

    @property
    def channels(self) -> tuple[int, ...]:
        """All channels in use: microphones, then the reference."""
        return self.mics if self.reference is None else (*self.mics, self.reference)

    def split(self, selected: FloatArray) -> tuple[FloatArray, FloatArray | None]:
        """Cut float32 [samples, len(channels)] into mics [m, samples] and reference [samples]."""
        count = len(self.mics)
        mics = selected[:, :count].T.copy()
        return mics, None if self.reference is None else selected[:, count].copy()


def map_channels(
    available: int,
    mics: tuple[int, ...] | None = None,
    reference: tuple[int, ...] | None = None,
) -> ChannelMap:
    """Choose channels for a recording.

    Parameters
    ----------
    available : int
        Channels of the recording, at least 1.
    mics : tuple of int, optional
        ``audio.mics``; None means the first two channels that are not the reference.
    reference : tuple of int, optional
        ``audio.reference``: one channel, or empty for no reference; None means channel 2 where
        there are three or more channels and it is not a microphone.

    Returns
    -------
    ChannelMap

    Raises
    ------
    ConfigError
        A channel is not there, is named twice, or the number of microphones is not 1 or 2.
    """
    if mics is not None and not 1 <= len(mics) <= MAX_MICROPHONES:
        raise ConfigError(f"audio.mics = {list(mics)}: name one or two channels")
    if reference is not None and len(reference) > 1:
        raise ConfigError(f"audio.reference = {list(reference)}: name one channel or none ([])")
    _check_present("audio.mics", mics or (), available)
    _check_present("audio.reference", reference or (), available)

    if reference is not None:
        chosen_reference = reference[0] if reference else None
    elif available >= 3 and 2 not in (mics or (0, 1)):
        chosen_reference = 2
    else:
        chosen_reference = None
    if mics is None:
        free = [index for index in range(available) if index != chosen_reference]
        mics = tuple(free[:MAX_MICROPHONES])
        if not mics:
            raise ConfigError(
                f"audio.reference = [{chosen_reference}] leaves no microphone: "
                "the audio has one channel; set audio.reference=[]"
            )
    if len(set(mics)) != len(mics):
        raise ConfigError(f"audio.mics = {list(mics)}: a channel is named twice")
    if chosen_reference in mics:
        raise ConfigError(
            f"audio.reference = [{chosen_reference}] is also in audio.mics = {list(mics)}"
        )
    return ChannelMap(mics, chosen_reference)


def _check_present(key: str, wanted: tuple[int, ...], available: int) -> None:
    for channel in wanted:
        if not 0 <= channel < available:
            have = "channel 0 only" if available == 1 else f"channels 0 to {available - 1}"
            raise ConfigError(
                f"{key} = {list(wanted)}: channel {channel} is not there, audio has {have}"
            )
