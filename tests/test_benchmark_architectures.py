"""The comparison of networks: every kind is trained and judged, wrong questions are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("pyroomacoustics", reason="training needs pyroomacoustics")

from benchmarks import architectures  # noqa: E402
from benchmarks.trial import Trial  # noqa: E402
from kwsd.dsp.features import BANDS  # noqa: E402
from kwsd.errors import MissingFileError, UsageError  # noqa: E402
from kwsd.train.fit import CHOICE_POINTS, FitConfig  # noqa: E402
from kwsd.train.network import Shape  # noqa: E402
from kwsd.train.pools import Pools, Word, save  # noqa: E402
from kwsd.train.rehearsal import Rehearsal  # noqa: E402

KINDS = {
    "dense": Shape(channels=4, filters=(), kernels=(3,), dilations=(1,)),
    "banded": Shape(channels=4, filters=((3, 6, 2),), kernels=(3,), dilations=(1,)),
}


@pytest.fixture(scope="module")
def pools() -> Pools:
    rng = np.random.default_rng(1)
    frames = rng.normal(-9, 1, (60, BANDS)).astype(np.float16)
    speech = rng.normal(-9, 1, (1500, BANDS)).astype(np.float16)
    return Pools([Word(frames, 0, 40, False)], {"speech": speech})


def test_every_kind_is_trained_on_the_same_and_judged(pools: Pools) -> None:
    rng = np.random.default_rng(2)
    heard = rng.normal(-9, 1, (900, BANDS)).astype(np.float16)
    rehearsal = Rehearsal(heard[:200], np.array([[0, 200]]), np.array([0]), heard, 2.0)
    trial = Trial(pools, [], FitConfig(steps=10, positives=2, negatives=2))
    found = list(architectures.compare(trial, rehearsal, 1, KINDS, lambda line: None))
    assert [outcome.kind for outcome in found] == ["dense", "banded"]
    dense, banded = found
    # The stem of five frames, one block with its filters and mixing, the last layer.
    assert dense.multiplies == 4 * 5 * BANDS + 4 * 3 + 4 * 4 + 4
    assert banded.multiplies == 18 * 3 * 5 * 6 + 4 * 3 * 18 + 4 * 3 + 4 * 4 + 4
    assert all(len(outcome.costs) == len(CHOICE_POINTS) for outcome in found)
    assert all(0.0 <= cost <= 1.0 for outcome in found for cost in outcome.costs)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("--kinds", "square"), "square"),
        (("--steps", "3"), "--steps 3"),
        (("--pools", "nowhere.npz"), "nowhere.npz"),
        (("word", "two", "three"), "1 phrases, 4"),
    ],
)
def test_wrong_questions_are_refused(
    change: tuple[str, ...],
    said: str,
    pools: Pools,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    streams = {k: pools.negatives["speech"] for k in ("speech", "synthetic", "bulk", "noise")}
    quiet = np.full((0, BANDS), -18, np.float16)
    save(Pools(pools.words, {**streams, "residue": quiet, "tone": quiet}), tmp_path / "pools.npz")
    words = ["architectures", "word", "--pools", str(tmp_path / "pools.npz")]
    monkeypatch.setattr("sys.argv", [*words, "--data", str(tmp_path), *change])
    if change[0] == "word":
        monkeypatch.setattr("sys.argv", [words[0], *change, *words[1:], "--data", str(tmp_path)])
    assert architectures.main() in (UsageError.exit_code, MissingFileError.exit_code)
    assert said in capsys.readouterr().err
