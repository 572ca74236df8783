"""Loading a package: a good one, and every way in which one must be refused."""

import hashlib
import io
import re
import shutil
import struct
import tomllib
import zipfile

import numpy as np
import pytest
from model_fixture import SENSITIVITIES, write_random_package

from kwsd.errors import KwsdError, MissingFileError, ModelError
from kwsd.model.package import load_package
from kwsd.model.toml_text import toml_text
from kwsd.model.verify import load_vectors
from kwsd.model.write import archive
from kwsd.runtime.select import open_session


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A valid package."""
    return write_random_package(tmp_path_factory.mktemp("good") / "random")


@pytest.fixture
def package(good, tmp_path):
    """A copy to damage."""
    return shutil.copytree(good, tmp_path / "random")


@pytest.fixture
def rewrite(package):
    """A function that changes the description."""

    def rewrite(change):
        path = package / "model.toml"
        table = tomllib.loads(path.read_text())
        change(table)
        path.write_text(toml_text(table))

    return rewrite


def sign(package, name):
    """Make the description agree with a file that was changed."""
    path = package / "model.toml"
    table = tomllib.loads(path.read_text())
    table["files"][name] = hashlib.sha256((package / name).read_bytes()).hexdigest()
    path.write_text(toml_text(table))


def refused(call, kind, *words):
    """The message is one line and says these words."""
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert isinstance(caught.value, KwsdError)
    assert len(message.splitlines()) == 1
    for word in words:
        assert word in message


def test_good(good):
    package = load_package(good)
    assert (package.name, package.kind, package.labels) == ("random", "wake", ("random",))
    assert package.tensor("features").shape == (1, 2, 1, 40)
    assert package.tensor("prob").scale == 1 / 256
    assert package.highest_score == 255 / 256
    assert [pair.name for pair in package.states] == ["s0", "s1", "s2"]
    assert dict(package.sensitivities) == SENSITIVITIES
    for pair in package.states:
        a, b = package.tensor(pair.input), package.tensor(pair.output)
        assert (a.shape, a.scale, a.zero_point) == (b.shape, b.scale, b.zero_point)
    assert load_vectors(package)["prob"].shape == (12, 1, 1)


@pytest.mark.parametrize("name", ["model.tflite", "vectors.npz", "CARD.md"])
@pytest.mark.parametrize("damage", ["changed", "truncated", "missing"])
def test_files(package, name, damage):
    path = package / name
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
        return refused(lambda: load_package(package), MissingFileError, name, "install")
    data[-1] ^= 1
    path.write_bytes(data if damage == "changed" else data[: len(data) // 2])
    refused(lambda: load_package(package), ModelError, name, "sha256")


def tensor(name):
    return lambda table: next(t for t in table["tensor"] if t["name"] == name)


def put(*path, value, of=lambda table: table):
    """A change that sets one value."""

    def change(table):
        place = of(table)
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("format", value=2), ["format = 2", "reads 1"]),
        (put("surprise", value=1), ["surprise", "not known", "known keys"]),
        (put("stream", "surprise", value=1), ["stream.surprise"]),
        (put("stream", "sur\nprise", value=1), [r"'stream.sur\nprise' is not known"]),
        (put("kind", value="song"), ["kind = 'song'", "wake, sound, verifier"]),
        (put("name", value="../x"), ["name = '../x'"]),
        (put("labels", value=["a/b"]), ["labels", "a/b"]),
        (put("labels", value=["a", "b"]), ["labels", "a wake package has one"]),
        (lambda t: t.pop("phrase"), ["phrase is missing"]),
        (lambda t: t.pop("files"), ["files is missing"]),
        (put("feature", "bands", value=64), ["feature.bands = 64", "40"]),
        (put("feature", "pcen_alpha", value=0.9), ["feature.pcen_alpha = 0.9", "0.95"]),
        (put("feature", "compression", value="log"), ["feature.compression", "pcen"]),
        (put("sensitivity", "low", "threshold", value=1.5), ["threshold = 1.5", "0 to 1"]),
        (put("sensitivity", "low", "threshold", value=0.1), ["thresholds", "0.1"]),
        (put("sensitivity", "low", "threshold", value=float("nan")), ["threshold = nan"]),
        (put("sensitivity", "low", "threshold", value="0.5"), ["threshold = '0.5'"]),
        (put("stream", "feature_input", value="nope"), ["nope", "[[tensor]]"]),
        (put("stream", "frames_per_step", value=3), ["features", "[1, 3, 1, 40]"]),
        (put("shape", value=[1, 2, 40], of=tensor("features")), ["[1, 2, 40]"]),
        (put("shape", value=[60000, 60000], of=tensor("s1_in")), ["s1_in", "allowed"]),
        (put("shape", value=[1, -4], of=tensor("s1_in")), ["shape = [1, -4]"]),
        (put("dtype", value="float32", of=tensor("s1_in")), ["dtype = 'float32'", "int8"]),
        (put("scale", value=0.0, of=tensor("prob")), ["scale = 0.0"]),
        (put("scale", value=1.0, of=tensor("prob")), ["prob", "between 0 and 1"]),
        (put("zero_point", value=200, of=tensor("prob")), ["prob", "200", "-128 to 127"]),
        (put("scale", value=0.5, of=tensor("s1_in")), ["state s1", "go round"]),
        (put("zero_point", value=3, of=tensor("s1_out")), ["state s1", "go round"]),
        (put("state", 0, "output", value="nope"), ["state s0", "not there"]),
        (lambda t: t["state"].append(t["state"][0]), ["two [[state]] tables"]),
        (lambda t: t["state"].pop(), ["s2_in", "neither features nor states"]),
        (lambda t: t["tensor"].append(t["tensor"][0]), ["share a name"]),
        (put("files", "../evil", value="0" * 64), ["../evil", "plain file names"]),
        (put("vectors", "file", value="../v.npz"), ["../v.npz"]),
        (put("vectors", "tolerance", value=-1), ["tolerance = -1"]),
        (put("labels", value=["a" * 9000, 1]), ["labels = ['aaa", "…: a list of texts"]),
        (
            put("version", value="1\x1b]0;x\x07\nkwsd: info: audio muted"),
            ["version =", "of one line"],
        ),
    ],
)
def test_description(package, rewrite, change, words):
    rewrite(change)
    refused(lambda: load_package(package), ModelError, "model.toml", *words)


@pytest.mark.parametrize(
    ("key", "value"),
    [("tolerance", "0x" + "f" * 6000), ("labels", "[0x" + "f" * 6000 + "]")],
)
def test_numbers_that_python_does_not_write(package, key, value):
    path = package / "model.toml"
    text = path.read_text()
    path.write_text(re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE))
    refused(lambda: load_package(package), ModelError, f"{key} = ", "too long to show", "expected")


def test_no_package(tmp_path):
    refused(lambda: load_package(tmp_path / "none"), MissingFileError, "none", "folder")
    refused(lambda: load_package(tmp_path), MissingFileError, "model.toml")
    for text in (b"\xff\xfe not toml", b"a = " + b"[" * 5000, b"format = " + b"1" * 5000):
        (tmp_path / "model.toml").write_bytes(text)
        refused(lambda: load_package(tmp_path), ModelError, "not valid TOML")
    (tmp_path / "model.toml").write_bytes(b"#" * (2 << 20))
    refused(lambda: load_package(tmp_path), ModelError, "bytes, allowed")


@pytest.mark.parametrize("keep", [0, 10, 1000, 0.5, -100])
def test_network_that_is_none(package, keep):
    path = package / "model.tflite"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    sign(package, "model.tflite")
    loaded = load_package(package)
    refused(lambda: open_session(loaded), ModelError, "model.tflite", "cannot be loaded")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (put("shape", value=[1, 2], of=tensor("prob")), None),
        (put("scale", value=0.5, of=tensor("features")), "features"),
        (
            lambda t: [put("zero_point", value=5, of=tensor(n))(t) for n in ("s1_in", "s1_out")],
            "s1",
        ),
        (put("name", value="other", of=lambda t: tensor("features")(t)), None),
    ],
)
def test_network_that_is_not_as_described(package, rewrite, change, word):
    rewrite(change)
    if word is None:
        return refused(lambda: load_package(package), ModelError, "model.toml")
    loaded = load_package(package)
    refused(lambda: open_session(loaded), ModelError, word, "model.toml says")


def vectors_of(package):
    with np.load(package / "vectors.npz") as file:
        return dict(file)


def test_vectors_in_any_order_of_memory(package):
    arrays = {name: np.asfortranarray(array) for name, array in vectors_of(package).items()}
    np.savez(package / "vectors.npz", **arrays)
    sign(package, "vectors.npz")
    loaded = load_vectors(load_package(package))
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)


def test_vectors_that_disagree(package):
    arrays = vectors_of(package)
    arrays["s1_out"] = np.roll(arrays["s1_out"], 1, axis=0)
    (package / "vectors.npz").write_bytes(archive(arrays))
    sign(package, "vectors.npz")
    loaded = load_package(package)
    refused(lambda: open_session(loaded), ModelError, "s1_out off by", "does not compute")


def replace_prob(path, arrays, content, kind=zipfile.ZIP_STORED, name=None):
    """Write the archive with other bytes in place of one array."""
    path.write_bytes(archive({key: array for key, array in arrays.items() if key != "prob"}))
    with zipfile.ZipFile(path, "a", kind) as packed:
        packed.writestr(name or "prob.npy", content)


HEADERS = {
    "bracket": "{'descr': (",
    "key": "{[]: 1}",
    "deep": "-" * 9000,
    "indented": "a:\n  b\n c",
    "no type": "{'descr': (), 'fortran_order': False, 'shape': (12, 1, 1)}",
    "long": "{" + " " * 20_000,
}
"""Texts in place of an array's header."""


@pytest.mark.parametrize(
    "damage",
    [
        *HEADERS,
        "lzma",
        "missing",
        "shape",
        "dtype",
        "pickle",
        "no archive",
        "bomb",
        "bare",
        "huge",
        "short",
        "locked",
    ],
)
def test_vectors_that_cannot_be_read(package, damage):
    arrays = vectors_of(package)
    path = package / "vectors.npz"
    if damage == "missing":
        del arrays["prob"]
    elif damage == "shape":
        arrays["prob"] = arrays["prob"][:-1]
    elif damage == "dtype":
        arrays["prob"] = arrays["prob"].astype(np.int16)
    elif damage == "bomb":
        arrays["bomb"] = np.zeros(80 << 20, np.int8)
    path.write_bytes(archive(arrays))
    if damage == "pickle":
        arrays["prob"] = np.array([{"a": 1}] * 12, dtype=object)
        np.savez(path, **arrays)
    elif damage == "no archive":
        with path.open("wb") as file:
            np.save(file, arrays["prob"])
    elif damage in HEADERS:
        text = HEADERS[damage].encode()
        replace_prob(path, arrays, b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
    elif damage == "lzma":
        replace_prob(path, arrays, bytes(range(256)), zipfile.ZIP_LZMA)
        data = bytearray(path.read_bytes())
        # Behind the name come four bytes and five of properties, then what is packed.
        start = data.index(b"prob.npy") + len("prob.npy") + 9
        data[start : start + 8] = bytes([255] * 8)
        path.write_bytes(data)
    elif damage in ("bare", "huge", "short"):
        header = io.BytesIO()
        shape = (1 << 40, 64) if damage == "huge" else (12, 1, 1)
        table = {"descr": "|i1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(header, table)
        replace_prob(path, arrays, header.getvalue(), name="prob" if damage == "bare" else None)
    elif damage == "locked":
        data = path.read_bytes()
        # Bit 0 of the flags, in the local headers and in the directory.
        for start in (rb"PK\x03\x04..", rb"PK\x01\x02...."):
            data = re.sub(start + b"\x00", lambda m: m[0][:-1] + b"\x01", data, flags=re.DOTALL)
        path.write_bytes(data)
    sign(package, "vectors.npz")
    loaded = load_package(package)
    refused(lambda: load_vectors(loaded), ModelError, "vectors.npz")
