"""Channel mapping: defaults, overrides and what is refused."""

import numpy as np
import pytest

from kwsd.errors import ConfigError
from kwsd.source.channels import ChannelMap, map_channels


@pytest.mark.parametrize(
    ("available", "mics", "reference", "expected"),
    [
        (1, None, None, ChannelMap((0,), None)),
        (2, None, None, ChannelMap((0, 1), None)),
        (3, None, None, ChannelMap((0, 1), 2)),
        (6, None, None, ChannelMap((0, 1), 2)),
        (2, None, (1,), ChannelMap((0,), 1)),
        (3, None, (0,), ChannelMap((1, 2), 0)),
        (3, None, (), ChannelMap((0, 1), None)),
        (3, (0,), None, ChannelMap((0,), 2)),
        (3, (0, 2), None, ChannelMap((0, 2), None)),
        (6, (4, 5), (3,), ChannelMap((4, 5), 3)),
    ],
)
def test_mapping(available, mics, reference, expected):
    assert map_channels(available, mics, reference) == expected


@pytest.mark.parametrize(
    ("available", "mics", "reference", "words"),
    [
        (1, (1,), None, "channel 1 is not there, audio has channel 0 only"),
        (2, None, (5,), "channel 5 is not there, audio has channels 0 to 1"),
        (3, (0, 1, 2), None, "one or two channels"),
        (3, (), None, "one or two channels"),
        (3, None, (0, 1), "one channel or none"),
        (3, (0, 0), None, "named twice"),
        (3, (0, 1), (1,), "is also in audio.mics"),
        (1, None, (0,), "leaves no microphone"),
    ],
)
def test_refused(available, mics, reference, words):
    with pytest.raises(ConfigError, match=words):
        map_channels(available, mics, reference)


def test_split_keeps_channels_apart():
    selected = np.arange(12, dtype=np.float32).reshape(4, 3)
    mics, reference = ChannelMap((0, 1), 2).split(selected)
    np.testing.assert_array_equal(mics, [[0, 3, 6, 9], [1, 4, 7, 10]])
    np.testing.assert_array_equal(reference, [2, 5, 8, 11])
