"""File and pipe sources: formats, rates, damage."""

import io
import os
import struct

import numpy as np
import pytest
import soundfile as sf
from unknown_length import write_unknown_length

from kwsd.block import BLOCK_SAMPLES, SAMPLE_RATE_HZ
from kwsd.errors import AudioError, ConfigError, MissingFileError
from kwsd.evaluate.recording import parts_of, read_part
from kwsd.source.file import open_audio, open_file
from kwsd.source.pipe import PipeSource
from kwsd.source.wav_header import read_wav_header


def tone(seconds, rate_hz=SAMPLE_RATE_HZ, channels=1, frequency_hz=440.0):
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    wave = 0.5 * np.sin(2 * np.pi * frequency_hz * time_s)
    return np.stack([wave * 0.5**channel for channel in range(channels)], axis=1)


def read_all(source):
    blocks = list(source.blocks())
    source.close()
    assert [b.start_sample for b in blocks] == list(range(0, BLOCK_SAMPLES * len(blocks), 480))
    assert all(b.samples == BLOCK_SAMPLES for b in blocks[:-1])
    mics = np.concatenate([b.mics for b in blocks], axis=1)
    if blocks[0].reference is None:
        return mics, None
    return mics, np.concatenate([b.reference for b in blocks])


@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"),
    [
        (".wav", "PCM_U8", 0.01),
        (".wav", "PCM_16", 1e-4),
        (".wav", "PCM_24", 1e-6),
        (".wav", "PCM_32", 1e-6),
        (".wav", "FLOAT", 1e-7),
        (".wav", "DOUBLE", 1e-7),
        (".wav", "ULAW", 0.02),
        (".flac", "PCM_16", 1e-4),
        (".ogg", "VORBIS", 0.1),
    ],
)
def test_sample_formats(tmp_path, suffix, subtype, tolerance):
    path = tmp_path / f"a{suffix}"
    audio = tone(0.5)
    sf.write(path, audio, SAMPLE_RATE_HZ, subtype=subtype)
    mics, reference = read_all(open_audio(str(path)))
    assert reference is None
    assert mics.dtype == np.float32
    assert mics.shape == (1, len(audio))
    np.testing.assert_allclose(mics[0], audio[:, 0], atol=tolerance)


@pytest.mark.parametrize("rate_hz", [8000, 11025, 22050, 44100, 48000, 96000])
def test_rates_are_converted_in_place(tmp_path, rate_hz):
    path = tmp_path / "a.wav"
    sf.write(path, tone(1.0, rate_hz), rate_hz, subtype="FLOAT")
    source = open_audio(str(path))
    assert source.info.duration_s == pytest.approx(1.0)
    mics, _ = read_all(source)
    assert abs(mics.shape[1] - SAMPLE_RATE_HZ) <= 1
    inner = slice(1000, 15000)
    np.testing.assert_allclose(mics[0, inner], tone(1.0)[inner, 0], atol=1e-3)


def test_channels_are_mapped(tmp_path):
    path = tmp_path / "a.wav"
    audio = tone(0.2, channels=4)
    sf.write(path, audio, SAMPLE_RATE_HZ, subtype="FLOAT")
    mics, reference = read_all(open_audio(str(path)))
    np.testing.assert_allclose(mics, audio.T[:2], atol=1e-7)
    np.testing.assert_allclose(reference, audio[:, 2], atol=1e-7)
    mics, reference = read_all(open_audio(str(path), (3,), (0,)))
    np.testing.assert_allclose(mics, audio.T[3:], atol=1e-7)
    np.testing.assert_allclose(reference, audio[:, 0], atol=1e-7)
    with pytest.raises(ConfigError):
        open_audio(str(path), None, (4,))


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_pipe_decodes_like_a_file(tmp_path, subtype):
    path = tmp_path / "a.wav"
    sf.write(path, tone(0.3, 44100, 3), 44100, subtype=subtype)
    expected = read_all(open_audio(str(path)))
    got = read_all(PipeSource(io.BytesIO(path.read_bytes()), "pipe"))
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def wav_bytes(samples, promised=None, channels=1, rate_hz=16000, bits=16):
    data = (np.asarray(samples) * 32767).astype("<i2").tobytes()
    frame = max(1, channels * bits // 8)
    size = len(data) if promised is None else promised
    fmt = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * frame, frame, bits)
    head = b"RIFF" + struct.pack("<I", min(36 + size, 2**32 - 1)) + b"WAVE"
    return head + b"fmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", size) + data


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("upper", [0, 0x5A, 0xFF])
def test_24_bits_in_four_bytes_are_as_loud_as_in_three(tmp_path, channels, upper):
    """`arecord -f S24_LE` writes the lower three bytes; of the upper one ALSA says nothing."""
    audio = tone(0.3, channels=channels)
    packed, path = tmp_path / "packed.wav", tmp_path / "s24_le.wav"
    sf.write(packed, audio, SAMPLE_RATE_HZ, subtype="PCM_24")
    lower = sf.read(packed, dtype="int32", always_2d=True)[0].view("<u4") >> 8
    stored = lower | np.uint32(upper << 24)
    path.write_bytes(wav_header(channels, 24, 4 * channels, 4 * stored.size))
    with path.open("ab") as stream:
        stream.write(stored.tobytes() + b"LIST\4\0\0\0INFO")
    expected = read_all(open_audio(str(packed)))
    for source in (open_audio(str(path)), PipeSource(io.BytesIO(path.read_bytes()), "pipe")):
        for one, other in zip(read_all(source), expected, strict=True):
            np.testing.assert_array_equal(one, other)
    assert np.abs(read_part(parts_of(path)[0])).max() == pytest.approx(0.5, abs=0.01)


def wav_header(channels, bits, frame_bytes, size):
    rate_hz = SAMPLE_RATE_HZ
    fmt = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * frame_bytes, frame_bytes, bits)
    head = b"RIFF" + struct.pack("<I", 36 + size) + b"WAVE"
    return head + b"fmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", size)


def test_a_size_that_was_never_filled_in_is_not_taken_for_none(tmp_path):
    data = wav_bytes(tone(0.2)[:, 0], 0)
    source = PipeSource(io.BytesIO(data), "pipe")
    assert source.info.duration_s is None
    assert read_all(source)[0].shape == (1, 3200)
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    with pytest.raises(AudioError, match="says 0 samples, and 6400 bytes follow.*--ignore-length"):
        open_audio(str(path))
    for rest in (b"", b"LIST\4\0\0\0INFO"):
        path.write_bytes(wav_bytes([]) + rest)
        with pytest.raises(AudioError, match="holds no audio: 0 samples"):
            open_audio(str(path))


@pytest.mark.parametrize("promised", [0xFFFFFFFF, 0x7FFFFFFF - 36, 0x80000000])
def test_open_length_means_until_the_end(tmp_path, promised):
    data = wav_bytes(tone(0.2)[:, 0], promised)
    source = PipeSource(io.BytesIO(data), "pipe")
    assert source.info.duration_s is None
    assert read_all(source)[0].shape == (1, 3200)
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    assert read_all(open_audio(str(path)))[0].shape == (1, 3200)


def test_truncated_pipe_is_an_error_after_what_was_there():
    source = PipeSource(io.BytesIO(wav_bytes(tone(0.2)[:, 0], 32000)), "pipe")
    blocks = []
    with pytest.raises(AudioError, match="promises 1.000 s of audio, 0.200 s are there"):
        for block in source.blocks():
            blocks.append(block)
    assert blocks


def test_one_sample(tmp_path):
    path = tmp_path / "a.wav"
    sf.write(path, np.zeros(1), 48000)
    assert sum(block.samples for block in open_audio(str(path)).blocks()) <= 1


def test_missing_file(tmp_path):
    with pytest.raises(MissingFileError, match="no such file"):
        open_audio(str(tmp_path / "none.wav"))
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(MissingFileError):
        open_audio(str(tmp_path / "a.txt" / "b.wav"))


def damaged(kind):
    whole = wav_bytes(tone(0.5)[:, 0])
    return {
        "empty": b"",
        "text": b"this is not audio at all, but a text of some length\n" * 10,
        "header only": whole[:20],
        "no data chunk": whole[:36],
        "long chunk": whole[:36] + b"iXML" + struct.pack("<I", 2 << 20) + whole[36:],
        "truncated": whole[:-4000],
        "no samples": wav_bytes([]),
        "no channels": wav_bytes(tone(0.1)[:, 0], channels=0),
        "rate 0": wav_bytes(tone(0.1)[:, 0], rate_hz=0),
        "rate 10 Hz": wav_bytes(tone(0.1)[:, 0], rate_hz=10),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("empty", "is empty"),
        ("text", "not audio that can be read"),
        ("header only", "ends inside its WAV header"),
        ("no data chunk", "ends inside its WAV header"),
        ("long chunk", "'iXML' of 2097152 bytes .* write it without: sox"),
        ("truncated", "is truncated: its header promises 0.500 s of audio, 0.375 s are there"),
        ("no samples", "0 samples"),
        ("no channels", "0 channels"),
        ("rate 0", "sample rate of 0 Hz"),
        ("rate 10 Hz", "sample rate of 10 Hz"),
    ],
)
def test_damage_is_found_at_opening(tmp_path, kind, words):
    path = tmp_path / "a.wav"
    path.write_bytes(damaged(kind))
    with pytest.raises(AudioError, match=words) as caught:
        open_audio(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.raw", "a.RAW"])
@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_content_decides_not_the_name(tmp_path, name, kind):
    path, audio = tmp_path / name, tone(0.3)
    sf.write(tmp_path / "a", audio, SAMPLE_RATE_HZ, subtype="PCM_16", format=kind)
    (tmp_path / "a").rename(path)
    mics, _ = read_all(open_audio(str(path)))
    np.testing.assert_allclose(mics[0], audio[:, 0], atol=1e-4)


def test_samples_without_a_header(tmp_path):
    path = tmp_path / "a.raw"
    path.write_bytes(wav_bytes(tone(0.3)[:, 0])[44:])
    with pytest.raises(AudioError, match="samples without a header need one: sox -t raw"):
        open_audio(str(path))


def test_samples_are_all_channels_as_stored(tmp_path):
    path = tmp_path / "a.wav"
    audio = tone(0.7, 44100, 4)
    sf.write(path, audio, 44100, subtype="FLOAT")
    source = open_file(str(path), (3,), ())
    samples = source.samples()
    source.close()
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples, audio, atol=1e-7)


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(AudioError, match="is a pipe; store what it gives in a file"):
        open_file(str(tmp_path / "a.wav"))


def test_folder(tmp_path):
    with pytest.raises(AudioError, match="is a folder"):
        open_audio(str(tmp_path))


@pytest.mark.parametrize("seconds", [0.1, 1.0, 3.01])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_stream_that_does_not_say_its_length_is_heard_to_its_end(tmp_path, seconds, channels):
    audio = tone(seconds, channels=channels)
    path = write_unknown_length(tmp_path / "piped.flac", audio)
    source = open_file(str(path))
    assert source.info.duration_s is None
    np.testing.assert_allclose(source.samples(), audio, atol=1e-4)


@pytest.mark.parametrize("suffix", [".flac", ".ogg"])
def test_truncated_compressed_file(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    rng = np.random.default_rng(1)
    sf.write(path, 0.1 * rng.standard_normal(80000), SAMPLE_RATE_HZ)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if suffix == ".flac":
        with pytest.raises(AudioError, match="truncated"):
            open_audio(str(path))
    else:
        # Ogg has no length in its head: what is there is the recording.
        mics, _ = read_all(open_audio(str(path)))
        assert 0 < mics.shape[1] < 80000


@pytest.mark.parametrize(("value", "word"), [(np.nan, "nan"), (np.inf, "inf"), (4e4, "40000")])
def test_values_that_cannot_be(tmp_path, value, word):
    path = tmp_path / "a.wav"
    audio = tone(1.0, channels=2).astype(np.float32)
    audio[12000, 1] = value
    sf.write(path, audio, SAMPLE_RATE_HZ, subtype="FLOAT")
    words = rf"sample 12000 \(0.750 s\) of channel 1 is {word}"
    with pytest.raises(AudioError, match=words):
        read_all(open_audio(str(path)))
    # A channel that is not used may hold anything.
    read_all(open_audio(str(path), (0,)))


def test_header_of_extensible_and_odd_chunks():
    plain = wav_bytes(tone(0.1)[:, 0])
    odd = b"note" + struct.pack("<I", 3) + b"abc\0"
    fmt = struct.pack("<HHIIHH", 0xFFFE, 1, 16000, 32000, 2, 16)
    fmt += struct.pack("<HHIH", 22, 16, 4, 1) + b"\0" * 14
    body = odd + b"fmt " + struct.pack("<I", len(fmt)) + fmt + plain[36:]
    header = read_wav_header(io.BytesIO(b"RIFF\0\0\0\0WAVE" + body), "x")
    assert (header.format_tag, header.bits, header.data_bytes) == (1, 16, 3200)


def test_header_of_rf64():
    ds64 = struct.pack("<QQQI", 0, 5_000_000_000, 0, 0)
    fmt = struct.pack("<HHIIHH", 1, 2, 48000, 192000, 4, 16)
    data = (
        b"RF64\xff\xff\xff\xffWAVE"
        + (b"ds64" + struct.pack("<I", len(ds64)) + ds64)
        + (b"fmt " + struct.pack("<I", 16) + fmt)
        + (b"data" + struct.pack("<I", 0xFFFFFFFF))
    )
    assert read_wav_header(io.BytesIO(data), "x").data_bytes == 5_000_000_000
