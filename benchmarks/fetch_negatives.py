"""Fetch hours of real recordings in which no wake word is said, from ordinary Debian packages.

    python benchmarks/fetch_negatives.py OUT [--debs FOLDER] [--only SET ...]
    python benchmarks/fetch_negatives.py MUSIC --only songs
    python benchmarks/fetch_negatives.py TALK --only drascula drascula-es

Each set comes from one package: `apt-get download`, unpacked without installing, decoded and
resampled to 16 kHz mono FLAC under ``OUT/<set>/``. Clips with the same content are kept once.
``OUT/index.csv`` lists path, set, licence, seconds and the hash of the samples. A set that is
complete is not fetched again, so an interrupted run goes on where it stopped.

The recordings keep their own licences (see the index); most are copyleft, none may be committed
here. Nobody has listened to all of them: a false accept on them is worth a listen. The three G.722
sets need the package ``G722`` (`pip install G722`) and are left out without it. ``songs`` is music
under the MIT licence for the device to play in training (`kwsmodel train --noise MUSIC`);
``drascula`` and ``drascula-es`` are acted English and Spanish for training (`kwsmodel train
--negatives TALK`). These come when they are named, into folders of their own.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from kwsd.errors import KwsdError, OutputError, RuntimeUnavailable, UsageError

RATE_HZ = 16_000
SHORTEST_S = 0.3
QUIETEST_DBFS = -60.0
QUEEN_SPEECH = ".SB"
HEADERLESS = {".gsm": (8_000, "GSM610"), ".ALS": (11_025, "PCM_U8")}
"""Rate and coding of files that do not say theirs."""

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Collection:
    """One package and what to take of it."""

    package: str
    """Debian package."""

    licence: str
    """Licence of the recordings, from the package's copyright file."""

    patterns: tuple[str, ...]
    """Files, as glob patterns below the unpacked package."""

    asked: bool = False
    """Fetched where it is named only: it trains, so it must not come among what judges."""


COLLECTIONS = {
    "amazon-queen": Collection(
        "flight-of-the-amazon-queen", "Flight-of-the-Amazon-Queen-License", ("**/queen.1c",)
    ),
    "tuxpaint": Collection("tuxpaint-stamps-default", "GPL-2", ("**/*.ogg", "**/*.wav")),
    "fillets-cs": Collection("fillets-ng-data-cs", "GPL-2+", ("**/sound/**/*.ogg",)),
    "festvox-ru": Collection("festvox-ru", "BSD-like", ("**/*.wav",)),
    "hedgewars": Collection("hedgewars-data", "GPL-2", ("**/Sounds/voices/**/*.ogg",)),
    "asterisk-it-menardi": Collection(
        "asterisk-prompt-it-menardi-wav", "CC-BY-SA-3.0", ("**/*.wav",)
    ),
    "asterisk-fr-armelle": Collection("asterisk-prompt-fr-armelle", "GPL-2+", ("**/*.gsm",)),
    "asterisk-es-co": Collection("asterisk-prompt-es-co", "GPL-2+", ("**/*.gsm",)),
    "asterisk-fr": Collection("asterisk-core-sounds-fr-g722", "CC-BY-SA-3.0", ("**/*.g722",)),
    "asterisk-it": Collection("asterisk-core-sounds-it-g722", "CC-BY-SA-3.0", ("**/*.g722",)),
    "asterisk-ru": Collection("asterisk-core-sounds-ru-g722", "CC-BY-SA-3.0", ("**/*.g722",)),
    "drascula": Collection("drascula", "Drascula-License", ("**/*.ALS",), asked=True),
    "drascula-es": Collection("drascula-spanish", "Drascula-License", ("**/*.ALS",), asked=True),
    "songs": Collection("fretsonfire-songs-sectoid", "MIT", ("**/*.ogg",), asked=True),
}


@dataclass(frozen=True)
class Row:
    """A line of the index."""

    path: str
    set: str
    licence: str
    seconds: float
    sha256: str


COLUMNS = tuple(Row.__dataclass_fields__)


def find_package(package: str, folder: Path) -> Path:
    """The .deb of a package in a folder, downloaded into it if it is not there."""
    here = sorted(folder.glob(f"{package}_*.deb"))
    if here:
        return here[-1]
    if shutil.which("apt-get") is None:
        raise RuntimeUnavailable(
            f"{package}: no apt-get here; download the package elsewhere and name its folder "
            "with --debs"
        )
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["apt-get", "download", package], cwd=folder, capture_output=True, text=True, check=False
    )
    here = sorted(folder.glob(f"{package}_*.deb"))
    if done.returncode != 0 or not here:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeUnavailable(f"apt-get download {package}: {last}")
    return here[-1]


def clips(path: Path) -> Iterator[tuple[str, FloatArray, int]]:
    """(name, samples of the first channel, rate) of each recording in a file.

    Raises
    ------
    RuntimeUnavailable
        A decoder is not installed.
    soundfile.LibsndfileError
        The file cannot be decoded.
    """
    if path.suffix == ".1c":
        yield from _queen(path)
    elif path.suffix == ".g722":
        yield path.stem, _g722(path.read_bytes()), RATE_HZ
    elif path.suffix in HEADERLESS:
        stored_hz, subtype = HEADERLESS[path.suffix]
        audio, rate_hz = soundfile.read(
            path, dtype="float32", samplerate=stored_hz, channels=1, format="RAW", subtype=subtype
        )
        yield path.stem, audio, rate_hz
    else:
        audio, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
        yield path.stem, audio[:, 0], rate_hz


def _queen(path: Path) -> Iterator[tuple[str, FloatArray, int]]:
    """Speech of the game: a table of (name, part, offset, size), then one MP3 an entry."""
    data = path.read_bytes()
    count = struct.unpack(">H", data[13:15])[0]
    for entry in range(count):
        name, _, offset, size = struct.unpack_from(">12sBII", data, 15 + 21 * entry)
        text = name.split(b"\0")[0].decode("ascii")
        if text.endswith(QUEEN_SPEECH):
            try:
                audio, rate_hz = soundfile.read(
                    io.BytesIO(data[offset : offset + size]), dtype="float32", always_2d=True
                )
            except soundfile.LibsndfileError:
                continue
            yield text.removesuffix(QUEEN_SPEECH), audio[:, 0], rate_hz


def _g722(data: bytes) -> FloatArray:
    try:
        from G722 import G722  # type: ignore[import-not-found]
    except ImportError:
        raise RuntimeUnavailable("G.722 needs the package 'G722': pip install G722") from None
    return np.asarray(G722(RATE_HZ, 64_000).decode(data), dtype=np.float32) / 32768.0


def convert(name: str, folder: Path, debs: Path, known: set[str]) -> list[Row]:
    """Unpack and decode one set into ``folder/name``, whole or not at all."""
    collection = COLLECTIONS[name]
    deb = find_package(collection.package, debs)
    rows: list[Row] = []
    failed = 0
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}.") as work:
        unpacked, out = Path(work) / "unpacked", Path(work) / "out"
        out.mkdir()
        subprocess.run(["dpkg-deb", "-x", str(deb), str(unpacked)], check=True)
        found = sorted({p for pattern in collection.patterns for p in unpacked.glob(pattern)})
        with Progress(console=Console(stderr=True), transient=True) as bar:
            for path in bar.track(found, description=name):
                try:
                    for clip, audio, rate_hz in clips(path):
                        pcm = _to_pcm(audio, rate_hz)
                        digest = hashlib.sha256(pcm.tobytes()).hexdigest()
                        if digest in known or not _worth_keeping(pcm):
                            continue
                        known.add(digest)
                        target = f"{len(rows):05d}-{clip}.flac"
                        soundfile.write(out / target, pcm, RATE_HZ, subtype="PCM_16")
                        seconds = round(len(pcm) / RATE_HZ, 3)
                        rows.append(Row(target, name, collection.licence, seconds, digest))
                except soundfile.LibsndfileError:
                    failed += 1
        _write_index(out / "index.csv", rows)
        out.rename(folder / name)
    if failed:
        print(f"{name}: {failed} of {len(found)} files could not be decoded", file=sys.stderr)
    return [_below(name, row) for row in rows]


def _to_pcm(audio: FloatArray, rate_hz: int) -> NDArray[np.int16]:
    if rate_hz != RATE_HZ:
        audio = soxr.resample(audio, rate_hz, RATE_HZ)
    return np.clip(np.round(audio * 32768.0), -32768, 32767).astype(np.int16)


def _worth_keeping(pcm: NDArray[np.int16]) -> bool:
    if len(pcm) < SHORTEST_S * RATE_HZ:
        return False
    rms = float(np.sqrt(np.mean(np.square(pcm.astype(np.float64))))) / 32768.0
    return bool(rms > 10.0 ** (QUIETEST_DBFS / 20.0))


def _write_index(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _below(name: str, row: Row) -> Row:
    """A row of a set's own index as the index of all has it."""
    return row if row.path.startswith(f"{name}/") else replace(row, path=f"{name}/{row.path}")


def _read_index(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return [
            Row(r["path"], r["set"], r["licence"], float(r["seconds"]), r["sha256"])
            for r in csv.DictReader(file)
        ]


def main() -> int:
    """Fetch, convert, list."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    usual = [name for name, collection in COLLECTIONS.items() if not collection.asked]
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the recordings")
    parser.add_argument("--debs", type=Path, help="folder of the packages (default: OUT/debs)")
    parser.add_argument("--only", nargs="+", metavar="SET", default=usual)
    args = parser.parse_args()
    try:
        for name in args.only:
            if name not in COLLECTIONS:
                raise UsageError(f"no set {name!r}; there are {', '.join(COLLECTIONS)}")
        return fetch(args.out, args.debs or args.out / "debs", args.only)
    except KwsdError as error:
        print(f"fetch_negatives: {error}", file=sys.stderr)
        return error.exit_code


def fetch(out: Path, debs: Path, names: list[str]) -> int:
    """Complete the named sets, then list every set that is there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be made: {error.strerror}") from None
    rows = [
        _below(path.parent.name, row)
        for path in sorted(out.glob("*/index.csv"))
        for row in _read_index(path)
    ]
    known = {row.sha256 for row in rows}
    for name in names:
        if (out / name).is_dir():
            continue
        try:
            made = convert(name, out, debs, known)
        except RuntimeUnavailable as error:
            print(f"{name} left out: {error}", file=sys.stderr)
            continue
        rows += made
        _write_index(out / "index.csv", rows)
        print(f"{name}: {len(made)} clips, {sum(r.seconds for r in made) / 3600:.2f} h", flush=True)
    _write_index(out / "index.csv", rows)
    print(f"{len(rows)} clips, {sum(r.seconds for r in rows) / 3600:.2f} h in {out}")
    return 0 if rows else RuntimeUnavailable.exit_code


if __name__ == "__main__":
    sys.exit(main())
