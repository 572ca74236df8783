"""microWakeWord packages: manifests, features and scores against the makers' own tool, replay.

The models come from the installed `pymicro-wakeword`. `sounds/alexa.flac` is ``espeak-ng -v en-gb
alexa``, resampled to 16 kHz, peak 0.3.
"""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from conftest import PACKAGE_PARENT
from hypothesis import given, settings
from hypothesis import strategies as st
from test_replay_errors import fails

from kwsd.assemble import decision_config, open_models
from kwsd.config import load_config
from kwsd.errors import ConfigError, KwsdError, MissingFileError, ModelError, RuntimeUnavailable
from kwsd.feature_track import FeatureTrack
from kwsd.microwakeword.features import MicroFeatures, micro_features
from kwsd.microwakeword.manifest import load_manifest
from kwsd.microwakeword.network import MicroNetwork, open_network
from kwsd.microwakeword.stream import MicroStream
from kwsd.model.find import SHIPPED, find_model
from kwsd.source.base import SourceInfo

pytest.importorskip("pymicro_features", reason="no features: pip install pymicro-features")
reference = pytest.importorskip(
    "pymicro_wakeword", reason="no models to compare with: pip install pymicro-wakeword"
)

MODELS = Path(reference.__file__).parent / "models"
NAMES = ("alexa", "hey_jarvis", "hey_mycroft", "okay_nabu")
ROOT = Path(__file__).parent.parent
RATE = 16000

V2 = {
    "type": "micro",
    "wake_word": "Alexa",
    "author": "nobody",
    "website": "https://example.com",
    "model": "alexa.tflite",
    "trained_languages": ["en"],
    "version": 2,
    "micro": {
        "probability_cutoff": 0.9,
        "sliding_window_size": 5,
        "feature_step_size": 10,
        "tensor_arena_size": 22348,
        "minimum_esphome_version": "2024.7.0",
    },
}
V1 = {
    "type": "micro",
    "wake_word": "Alexa",
    "author": "nobody",
    "website": "https://example.com",
    "model": "alexa.tflite",
    "version": 1,
    "micro": {"probability_cutoff": 0.66, "sliding_window_average_size": 10},
}


def changed(table, **changes):
    """A copy with other values; ``micro__x`` reaches into the section, None removes a key."""
    table = {**table, "micro": {**table["micro"]}}
    for name, value in changes.items():
        part, _, key = name.rpartition("__")
        place = table[part] if part else table
        place[key] = value
        if value is None:
            del place[key]
    return table


@pytest.fixture(scope="session")
def word():
    """The spoken word in the middle of four seconds of faint noise."""
    pcm, _ = sf.read(ROOT / "tests/sounds/alexa.flac", dtype="float32")
    noise = 5e-4 * np.random.default_rng(5).standard_normal(4 * RATE)
    noise[2 * RATE : 2 * RATE + len(pcm)] += pcm
    return np.round(noise * 32768).astype(np.int16)


@pytest.fixture
def write(tmp_path):
    """Writes a manifest beside a copy of the network."""

    def write(content, name="alexa.json"):
        shutil.copy(MODELS / "alexa.tflite", tmp_path)
        path = tmp_path / name
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text)
        return path

    return write


def as_float(pcm):
    return pcm.astype(np.float32) / np.float32(32768.0)


# Manifests


def test_version_2(write):
    model = load_manifest(write(V2))
    assert (model.name, model.labels, model.phrase) == ("alexa", ("alexa",), "Alexa")
    assert (model.cutoff, model.smoothing_steps, model.step_ms) == (0.9, 5, 10)
    assert len(model.version) == 8 and int(model.version, 16) >= 0


def test_version_1(write):
    model = load_manifest(write(V1))
    # Frames every 20 ms go without saying in this version.
    assert (model.cutoff, model.smoothing_steps, model.step_ms) == (0.66, 10, 20)


@pytest.mark.parametrize("name", NAMES)
def test_published_manifests(name):
    model = load_manifest(MODELS / f"{name}.json")
    assert model.labels == (name,)


@pytest.mark.parametrize(
    ("phrase", "keyword"),
    [("Hey, Jarvis!", "hey_jarvis"), ("Café", "cafe"), ("Привет", "alexa"), ("R2-D2", "r2-d2")],
)
def test_keyword_can_be_a_topic(write, phrase, keyword):
    assert load_manifest(write(changed(V2, wake_word=phrase))).labels == (keyword,)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", ["not valid JSON", "install the model again"]),
        ("[" * 100_000, ["not valid JSON"]),
        ("[1]", ["a JSON object expected"]),
        ("{}", ["no microWakeWord manifest", 'type = "micro"']),
        (changed(V2, type="macro"), ["no microWakeWord manifest"]),
        (changed(V2, version=3), ["version = 3", "from 1 to 2"]),
        (changed(V2, version=True), ["version = True"]),
        (changed(V2, wake_word=None), ["wake_word is missing"]),
        (changed(V2, model=7), ["model = 7", "a text expected"]),
        (changed(V2, model="../alexa.tflite"), ["../alexa.tflite", "beside the manifest"]),
        (changed(V2, model="https://a.b/c.tflite"), ["https://a.b/c.tflite", "copy it there"]),
        (changed(V2, micro__probability_cutoff=0), ["micro.probability_cutoff = 0", "above 0"]),
        (changed(V2, micro__probability_cutoff=90), ["micro.probability_cutoff = 90", "0 to 1"]),
        (changed(V2, micro__probability_cutoff=float("nan")), ["probability_cutoff = nan"]),
        (changed(V2, micro__sliding_window_size=0), ["sliding_window_size = 0", "from 1 to"]),
        (changed(V1, micro__sliding_window_average_size=None), ["average_size is missing"]),
        (changed(V2, micro__feature_step_size=30), ["feature_step_size = 30", "10 or 20"]),
    ],
)
def test_wrong_manifest(write, content, words):
    with pytest.raises(ModelError) as caught:
        load_manifest(write(content))
    for part in ("alexa.json", *words):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["none.tflite", "a\0b", "x" * 5000, "."])
def test_network_is_not_there(write, name):
    with pytest.raises((MissingFileError, ModelError)) as caught:
        load_manifest(write(changed(V2, model=name)))
    assert caught.value.exit_code == (65 if name in (".", "a\0b") else 66)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
KEYS = [*V2, "sliding_window_average_size", *V2["micro"]]


@pytest.fixture(scope="module")
def junk_manifest(tmp_path_factory):
    """A place for manifests, with an empty network beside it."""
    folder = tmp_path_factory.mktemp("junk")
    (folder / "alexa.tflite").write_bytes(b"")
    return folder / "m.json"


@given(
    st.sampled_from([V1, V2]),
    st.dictionaries(st.sampled_from(list(V2)), JUNK, max_size=2),
    st.dictionaries(st.sampled_from([*V1["micro"], *V2["micro"]]), JUNK, max_size=2),
)
@settings(max_examples=150, deadline=None)
def test_junk_in_a_manifest_is_refused_or_harmless(junk_manifest, base, outer, inner):
    junk_manifest.write_text(json.dumps({**base, "micro": {**base["micro"], **inner}, **outer}))
    try:
        model = load_manifest(junk_manifest)
    except KwsdError as error:
        assert error.exit_code in (65, 66)
        assert str(junk_manifest.parent) in str(error) and "\n" not in str(error)
    else:
        assert 0.0 < model.cutoff <= 1.0 and model.smoothing_steps >= 1
        assert model.step_ms in (10, 20) and model.labels[0]


@given(st.binary(max_size=64))
@settings(max_examples=50, deadline=None)
def test_junk_bytes_as_a_manifest(junk_manifest, content):
    junk_manifest.write_bytes(content)
    with pytest.raises(ModelError):
        load_manifest(junk_manifest)


# Finding


def test_what_can_be_named(write, tmp_path, monkeypatch):
    path = write(V2)
    assert find_model(str(path)) == path
    assert find_model(str(tmp_path)) == path
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(MissingFileError, match=r"several models \(alexa.json, other.json\)"):
        find_model(str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    installed = tmp_path / "data/kwsd/models"
    (installed / "glados").mkdir(parents=True)
    (installed / "glados" / "any.json").write_text("{}")
    (installed / "luna.json").write_text("{}")
    assert find_model("luna") == installed / "luna.json"
    assert find_model("glados") == installed / "glados" / "any.json"
    assert find_model("computer") == SHIPPED / "computer"
    with pytest.raises(MissingFileError, match="did you mean 'luna'"):
        find_model("lunar")
    with pytest.raises(MissingFileError, match="none.json is not there"):
        find_model("none.json")


def test_own_packages_win_over_manifests_of_later_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    own = tmp_path / "kwsd/models/word"
    own.mkdir(parents=True)
    (own / "model.toml").write_text("")
    (own.parent / "word.json").write_text("{}")
    assert find_model("word") == own


# Features and scores


def reference_steps(name, pcm):
    """Feature frames and, for every step, score and mean as the makers' tool computes them."""
    tool = reference.MicroWakeWord.from_config(MODELS / f"{name}.json")
    frames, scores, means = [], [], []
    for count, frame in enumerate(
        reference.MicroWakeWordFeatures().process_streaming(pcm.tobytes()), 1
    ):
        frames.append(frame.reshape(-1))
        mean = tool.process_streaming_prob(frame)
        if count % tool.stride == 0:
            scores.append(tool._probabilities[-1])
            means.append(mean)
    return np.array(frames), scores, means


def our_scores(network, pcm, piece=1024):
    """Scores and their stream positions, the audio cut into pieces."""
    track, stream = FeatureTrack(micro_features(network.model.step_ms)), MicroStream(network)
    scores = []
    for start in range(0, len(pcm), piece):
        frames = track.process(as_float(pcm[start : start + piece]))
        scores += stream.process(frames, track.end_sample)
    return scores


@pytest.fixture(scope="module")
def living_room():
    pcm, rate = sf.read(ROOT / "samples/living_room.flac", dtype="int16")
    assert rate == RATE
    return np.ascontiguousarray(pcm[: 12 * RATE, 0])


def noise():
    return (3000 * np.random.default_rng(0).standard_normal(6 * RATE)).astype(np.int16)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("audio", ["living_room", "noise", "word"])
def test_every_score_equals_that_of_the_makers_tool(name, audio, living_room, word):
    pcm = {"living_room": living_room, "noise": noise(), "word": word}[audio]
    frames, scores, means = reference_steps(name, pcm)
    np.testing.assert_array_equal(MicroFeatures().process(as_float(pcm)), frames)
    network = MicroNetwork(load_manifest(MODELS / f"{name}.json"))
    ours = our_scores(network, pcm)
    assert [score.value for score in ours] == scores
    assert len(ours) == len(frames) // 3 > 100
    # The first frame ends after 30 ms, a step takes three.
    assert [score.end_sample for score in ours] == [800 + 480 * i for i in range(len(ours))]
    if (name, audio) == ("alexa", "word"):
        assert max(means) > 0.9
        values = [score.value for score in ours]
        window = network.model.smoothing_steps
        smoothed = [sum(values[i - window + 1 : i + 1]) / window for i in range(window, len(ours))]
        assert smoothed == pytest.approx(means[window:], abs=1e-12)


@given(st.lists(st.integers(0, 3000), max_size=12))
@settings(max_examples=25, deadline=None)
def test_features_do_not_depend_on_the_blocks(cuts):
    pcm = as_float(noise()[: RATE // 2])
    whole, stream = MicroFeatures().process(pcm), MicroFeatures()
    pieces = np.split(pcm, np.cumsum(cuts)[np.cumsum(cuts) <= len(pcm)])
    np.testing.assert_array_equal(np.concatenate([stream.process(p) for p in pieces]), whole)


def test_reset_forgets_everything(word):
    network = MicroNetwork(load_manifest(MODELS / "alexa.json"))
    features, stream = MicroFeatures(), MicroStream(network)

    def scores():
        return [score.value for score in stream.process(features.process(as_float(word)), 0)]

    first = scores()
    features.reset()
    assert scores() != first
    features.reset()
    stream.reset()
    assert scores() == first


def test_streams_of_one_network_do_not_hear_each_other(word):
    network = MicroNetwork(load_manifest(MODELS / "alexa.json"))
    frames = MicroFeatures().process(as_float(word))
    alone, beside, other = MicroStream(network), MicroStream(network), MicroStream(network)
    expected = alone.process(frames, 0)
    got = []
    for start in range(0, len(frames) - 2, 3):
        got += beside.process(frames[start : start + 3], 0)
        other.process(np.zeros((3, 40), np.float32), 0)
    assert [s.value for s in got] == [s.value for s in expected]
    assert network.usage().steps == {"litert": 3 * len(expected)}


def test_frames_every_20_ms(write, word):
    network = MicroNetwork(load_manifest(write(V1)))
    np.testing.assert_array_equal(
        MicroFeatures(2).process(as_float(word)), MicroFeatures().process(as_float(word))[::2]
    )
    ends = [score.end_sample for score in our_scores(network, word, piece=777)]
    assert ends == [480 + 640 + 960 * i for i in range(len(ends))]
    assert len(ends) == (4 * RATE - 480) // 320 // 3


def test_saturates_and_refuses_nan():
    loud = np.full(RATE, 3.0, np.float32) * np.sign(np.sin(np.arange(RATE))).astype(np.float32)
    full = np.clip(loud, -1.0, 1.0)
    np.testing.assert_array_equal(MicroFeatures().process(loud), MicroFeatures().process(full))
    with pytest.raises(KwsdError, match="not finite"):
        MicroFeatures().process(np.full(160, np.nan, np.float32))


# Opening


def test_threshold_is_the_cutoff_unless_a_number_is_set(write):
    model = load_manifest(write(V2))
    for level in ("low", "medium", "high"):
        config = load_config(flags=[("wake.sensitivity", level, "here")])
        assert decision_config(config, model).threshold == 0.9
    own = load_config(flags=[("wake.threshold", "0.3", "here")])
    assert decision_config(own, model).threshold == 0.3


def test_networks_that_are_none_of_this_kind(write, tmp_path):
    for content, words in (
        (b"", "cannot be loaded"),
        (b"TFL3" * 100, "cannot be loaded"),
        ((MODELS / "alexa.tflite").read_bytes()[:5000], "cannot be loaded"),
        ((SHIPPED / "computer/model.tflite").read_bytes(), r"input is .* expected"),
    ):
        path = write(V2)
        (tmp_path / "alexa.tflite").write_bytes(content)
        with pytest.raises(ModelError, match=words):
            MicroNetwork(load_manifest(path))


def test_order_without_the_cpu(write):
    with pytest.raises(RuntimeUnavailable, match='add "litert" to runtime.order'):
        open_network(load_manifest(write(V2)), order=("aipu",))


# The process


INFO = SourceInfo("a test", 1, False, RATE, 1, None)


def events(result):
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def word_file(tmp_path_factory, word):
    path = tmp_path_factory.mktemp("audio") / "word.wav"
    sf.write(path, word, RATE)
    return path


def test_replay_wakes_at_the_cutoff_of_the_manifest(kwsd, word_file, tmp_path, validator):
    scores = tmp_path / "scores.csv"
    models = [word for name in NAMES for word in ("--model", MODELS / f"{name}.json")]
    (wake,) = events(kwsd("--replay", word_file, *models, "--scores", scores))
    validator.validate(wake)
    assert (wake["name"], wake["model"], wake["runtime"]) == ("alexa", "alexa", "litert")
    assert wake["score"] >= wake["threshold"] == 0.9
    assert wake["model_version"] == load_manifest(MODELS / "alexa.json").version
    assert 2.0 <= wake["onset_s"] < wake["end_s"] <= wake["detected_s"] < 3.2
    lines = scores.read_text().splitlines()[1:]
    assert {line.split(",")[1] for line in lines} == set(NAMES)
    assert len(lines) == 4 * ((4 * RATE - 480) // 160 + 1) // 3 // 4 * 4


def test_configured_beside_our_own_model(kwsd, word_file, tone_model):
    environment = {"KWSD_WAKE_MODELS": json.dumps([str(tone_model), str(MODELS / "alexa.json")])}
    result = kwsd("--replay", word_file, env=environment)
    assert [event["name"] for event in events(result)] == ["alexa"]


def test_loudspeaker_saying_the_word_is_no_wake(kwsd, word, tmp_path):
    quiet = np.random.default_rng(2).integers(-10, 10, len(word)).astype(np.int16)
    echo = np.roll(word // 2, 200) + quiet
    path = tmp_path / "echo.wav"
    model = ("--model", MODELS / "alexa.json", "--set", "dsp.aec=false")
    sf.write(path, np.stack([echo, word], axis=1), RATE)
    told = kwsd("--replay", path, *model, "--set", "audio.reference=[1]", "--set", "audio.mics=[0]")
    sf.write(path, np.stack([echo, quiet], axis=1), RATE)
    said = kwsd("--replay", path, *model, "--set", "audio.reference=[1]", "--set", "audio.mics=[0]")
    assert [event["name"] for event in events(said)] == ["alexa"]
    assert events(told) == []


def test_mistakes_end_in_one_line(kwsd, word_file, write, tmp_path):
    good, bad = write(V2), write("{", "bad.json")
    fails(kwsd("--replay", word_file, "--model", bad), 65, "bad.json", "not valid JSON")
    shim = tmp_path / "shim/pymicro_features.py"
    shim.parent.mkdir()
    shim.write_text("raise ImportError('not there')\n")
    path = f"{shim.parent}{os.pathsep}{PACKAGE_PARENT}"
    result = kwsd("--replay", word_file, "--model", good, env={"PYTHONPATH": path})
    fails(result, 69, "pymicro-features (not there)", "pip install")


def test_configuration_file_and_one_keyword_twice(write, tmp_path):
    config = tmp_path / "kwsd.toml"
    config.write_text(f"wake.models = ['{write(V2)}', '{MODELS}/hey_jarvis.json']\n")
    opened = open_models(load_config(file=config, environment={}), INFO)
    assert [model.identity.keyword for model in opened] == ["alexa", "hey_jarvis"]
    assert [model.usage().runtime for model in opened] == ["litert", "litert"]
    for model in opened:
        model.rearm()
        model.close()
    models = [str(write(V2)), str(MODELS / "alexa.json")]
    with pytest.raises(ConfigError, match="two packages for the keyword alexa"):
        open_models(load_config(models=models), INFO)
