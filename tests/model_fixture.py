"""Small model packages for tests, made in a second without training."""

from pathlib import Path

import numpy as np

from kwsd.dsp.features import BANDS, FFT_SIZE, SAMPLE_RATE_HZ, features, mel_matrix
from kwsd.model.package import Sensitivity, Timing
from kwsd.model.write import DataSource, PackageContent, write_package
from kwsd.train.layers import BandFilter, Block, FloatNet
from kwsd.train.quantise import calibrate
from kwsd.train.tflite_writer import write_tflite
from kwsd.train.vectors import record

TONE_HZ = 1000.0
CHANNELS = 8
SENSITIVITIES = {
    "low": Sensitivity(0.9, 0.1, 0.1),
    "medium": Sensitivity(0.7, 0.5, 0.05),
    "high": Sensitivity(0.5, 2.0, 0.02),
}


def random_net(
    seed=0, channels=CHANNELS, kernels=(5, 9), dilations=(1, 2), stem_frames=5, filters=((6, 6, 2),)
):
    """A network with random weights, scaled so that no layer dies or explodes.

    `filters` are those of `kwsd.train.network.Shape`.
    """
    rng = np.random.default_rng(seed)

    def normal(*shape, fan):
        return (rng.standard_normal(shape) / np.sqrt(fan)).astype(np.float32)

    blocks = tuple(
        Block(
            normal(channels, kernel, fan=kernel),
            normal(channels, fan=16),
            dilation,
            normal(channels, channels, fan=2 * channels),
            normal(channels, fan=16),
        )
        for kernel, dilation in zip(kernels, dilations, strict=True)
    )
    stem, source, bands, frames = [], 1, BANDS, stem_frames
    for count, span, stride in (*filters, (channels, None, 1)):
        span = span or bands
        weights = normal(
            count, source, frames, span, fan=source * frames * span / (1 + bool(filters))
        )
        stem.append(BandFilter(weights, normal(count, fan=16), stride))
        source, bands, frames = count, stem[-1].places(bands), 1
    return FloatNet(tuple(stem), blocks, normal(1, channels, fan=channels), np.zeros(1, "f4"))


def tone_net(tone_hz=TONE_HZ):
    """Hears the onset of a tone: one band rises over bands far from it for some steps.

    Channel 0 of the stem is that contrast, channel 1 of the first block its sum over 180 ms. The
    other channels are random and reach the head with next to no weight.
    """
    net = random_net(7, filters=())
    band = int(np.argmax(mel_matrix()[round(tone_hz * FFT_SIZE / SAMPLE_RATE_HZ)]))
    far = np.abs(np.arange(BANDS) - band) > 8
    stem, stem_bias = net.stem[0].weights.copy(), net.stem[0].bias.copy()
    stem[0] = np.where(far, -1.0 / far.sum(), np.arange(BANDS) == band) / net.stem_frames
    stem_bias[0] = -0.25
    stem[1], stem_bias[1] = 0.0, 0.0
    blocks = []
    for index, block in enumerate(net.blocks):
        depthwise, pointwise = block.depthwise.copy(), block.pointwise.copy()
        depthwise_bias, pointwise_bias = block.depthwise_bias.copy(), block.pointwise_bias.copy()
        depthwise[0], depthwise_bias[0] = 1.0, 0.0
        pointwise[:2], pointwise[:, :2], pointwise_bias[:2] = 0.0, 0.0, 0.0
        pointwise[1, 0] = 1.0 if index == 0 else 0.0
        blocks.append(Block(depthwise, depthwise_bias, block.dilation, pointwise, pointwise_bias))
    head = 0.01 * net.head
    head[0, :2] = 0.0, 4.0
    ends = head, np.array([-6.0], np.float32)
    return FloatNet((BandFilter(stem, stem_bias),), tuple(blocks), *ends)


def tone_bursts(seconds=4.0, tone_hz=TONE_HZ, seed=0, noise=1e-3, level=0.3):
    """Noise with a 300 ms tone at 1 s and each 2 s after it, float32 at 16 kHz."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    inside = (time_s % 2.0 >= 1.0) & (time_s % 2.0 < 1.3)
    tone = level * np.sin(2 * np.pi * tone_hz * time_s)
    return (noise * rng.standard_normal(len(time_s)) + inside * tone).astype(np.float32)


def calibration_signals():
    """Feature streams of noise, tones of several pitches and levels, and silence."""
    sounds = [
        tone_bursts(seed=i, tone_hz=hz, noise=noise, level=level)
        for i, (hz, noise, level) in enumerate(
            [(1000, 1e-3, 0.3), (1000, 3e-3, 0.1), (300, 1e-4, 0.5), (3000, 1e-2, 0.1)]
        )
    ]
    return [features(pcm) for pcm in (*sounds, np.zeros(SAMPLE_RATE_HZ, np.float32))]


def package_content(net, name="tone", **changes):
    """Everything of a package around a network."""
    signals = calibration_signals()
    network = write_tflite(net, calibrate(net, signals, percentile=100.0))
    recording = record(network, signals[0], steps=12)
    fields = {
        "name": name,
        "version": "0.0.1",
        "phrase": name,
        "labels": (name,),
        "network": network,
        "inputs": recording.inputs,
        "outputs": recording.outputs,
        "states": recording.states,
        "vectors": recording.vectors,
        "sensitivities": SENSITIVITIES,
        "timing": Timing(delay_ms=40.0, word_ms=200.0),
        "licence": "Apache-2.0",
        "card": f"# {name}\n\nFor tests.\n",
        "data": (DataSource("made up", "CC0-1.0", "16 s"),),
    }
    return PackageContent(**{**fields, **changes})


def write_tone_package(folder, name="tone", **changes):
    """A package that wakes on the onset of a 1 kHz tone; gives its folder."""
    write_package(Path(folder), package_content(tone_net(), name, **changes))
    return Path(folder)


def write_random_package(folder, seed=0, name="random", **changes):
    """A valid package with random weights; gives its folder."""
    write_package(Path(folder), package_content(random_net(seed), name, **changes))
    return Path(folder)
