"""What a training run is asked for: phrases that fit together, caches that fit the data."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")
pytest.importorskip("pyroomacoustics", reason="training needs pyroomacoustics")

from kwsd.errors import UsageError  # noqa: E402
from kwsd.train.fit import FitConfig  # noqa: E402
from kwsd.train.plan import (  # noqa: E402
    Plan,
    Target,
    checkpoint_key,
    corpus_folder,
    make_corpora,
    make_lessons,
    pools_key,
    tell_of_others,
)
from kwsd.train.pools import Amounts, Spoken  # noqa: E402
from kwsd.train.recordings import Recording  # noqa: E402

NONE = Amounts({"positive": 0, "near": 0, "other": 0})
SPOKEN = (Spoken("computer"),)


def recording(name: str, role: str = "positive", phrase: str = "computer") -> Recording:
    return Recording(Path(name), role, "set", "CC0", 1.0, phrase=phrase)


def plan(*phrases: str, amounts: Amounts = NONE) -> Plan:
    return Plan(
        targets=tuple(Target(phrase, phrase, Path(phrase)) for phrase in phrases),
        work=Path("work"),
        seed=1,
        amounts=amounts,
        train=(recording("a.wav"), recording("b.wav", "speech", "")),
        develop=(recording("c.wav"),),
        fit=FitConfig(),
        workers=1,
        command="",
    )


def quiet(_: str) -> None:
    return None


def test_a_phrase_inside_another_is_refused() -> None:
    with pytest.raises(UsageError, match="'hey computer' contains 'computer'"):
        make_corpora(plan("computer", "hey computer"), quiet)
    assert len(make_corpora(plan("computer", "jarvis"), quiet)) == 2


def test_any_synthetic_speech_needs_the_synthesizer() -> None:
    assert not plan("computer").synthesises
    assert plan("computer", amounts=replace(NONE, sayings=1)).synthesises
    assert plan("computer", amounts=replace(NONE, bulk_seconds=1.0)).synthesises


def test_a_corrected_label_makes_new_pools() -> None:
    before = plan("computer")
    after = replace(before, train=(before.train[0], recording("b.wav")))
    assert pools_key(before, SPOKEN) != pools_key(after, SPOKEN)
    assert pools_key(before, SPOKEN) == pools_key(replace(before, workers=2), SPOKEN)


def test_a_recording_that_was_cut_anew_makes_new_pools(tmp_path: Path) -> None:
    path, judged = tmp_path / "a.wav", tmp_path / "c.wav"
    path.write_bytes(b"long")
    judged.write_bytes(b"long")
    asked = replace(
        plan("computer"), train=(recording(str(path)),), develop=(recording(str(judged)),)
    )
    pools, checkpoint = pools_key(asked, SPOKEN), checkpoint_key(asked, SPOKEN)
    judged.write_bytes(b"cut")
    assert pools_key(asked, SPOKEN) == pools and checkpoint_key(asked, SPOKEN) != checkpoint
    path.write_bytes(b"cut")
    assert pools_key(asked, SPOKEN) != pools


def test_a_recording_of_the_same_length_makes_new_pools(tmp_path: Path) -> None:
    train, judged, room = (tmp_path / name for name in ("a.wav", "c.wav", "room.wav"))
    asked = replace(
        plan("computer"),
        train=(recording(str(train)),),
        develop=(recording(str(judged)),),
        responses=(room,),
    )
    keys = set()
    for path in (train, judged, room):
        path.write_bytes(b"once")
    for path in (train, judged, room):
        os.utime(path, ns=(1, 1))
        keys.add((pools_key(asked, SPOKEN), checkpoint_key(asked, SPOKEN)))
    assert len({pools for pools, _ in keys}) == 2 and len({key for _, key in keys}) == 3


def test_what_lies_there_of_other_recordings_is_said(tmp_path: Path) -> None:
    lines: list[str] = []
    tell_of_others(tmp_path, lines.append)
    assert not lines
    (tmp_path / "pools-0123.npz").write_bytes(b"x")
    tell_of_others(tmp_path, lines.append)
    assert "of other recordings or options" in lines[0] and str(tmp_path) in lines[0]


def test_the_renderings_of_another_phrase_of_the_same_name_are_not_taken() -> None:
    asked = plan("computer", "jarvis")
    folders = {corpus_folder(asked, replace(target, name="lamp")) for target in asked.targets}
    assert len(folders) == 2 and {folder.parent.name for folder in folders} == {"lamp"}


def test_other_development_recordings_do_not_go_on_from_a_checkpoint() -> None:
    before = plan("computer")
    after = replace(before, develop=(recording("d.wav"),))
    assert pools_key(before, SPOKEN) == pools_key(after, SPOKEN)
    assert checkpoint_key(before, SPOKEN) != checkpoint_key(after, SPOKEN)


def test_a_trial_with_other_options_leaves_the_checkpoint_of_a_long_training() -> None:
    asked = plan("computer")
    others = [
        replace(asked, fit=replace(asked.fit, steps=asked.fit.steps + 1)),
        replace(asked, fit=replace(asked.fit, splice_share=0.3)),
        replace(asked, fit=replace(asked.fit, varied=True)),
    ]
    keys = {checkpoint_key(one, SPOKEN) for one in (asked, *others)}
    keys |= {checkpoint_key(asked, SPOKEN, start_sha256) for start_sha256 in ("0123", "4567")}
    assert len(keys) == 6
    loaders = replace(asked, fit=replace(asked.fit, loaders=1))
    assert checkpoint_key(loaders, SPOKEN) == checkpoint_key(asked, SPOKEN)


def test_what_was_learnt_with_a_teacher_does_not_go_on_without() -> None:
    taught = plan("computer")
    alone = replace(taught, teacher=False)
    assert pools_key(taught, SPOKEN) == pools_key(alone, SPOKEN)
    assert checkpoint_key(taught, SPOKEN) != checkpoint_key(alone, SPOKEN)
    assert make_lessons(alone, SPOKEN, quiet) == []
