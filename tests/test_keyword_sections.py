"""A section of a keyword that nobody listens for is a slip, and is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from kwsd.assemble import open_models
from kwsd.config import load_config
from kwsd.source.base import SourceInfo

INFO = SourceInfo("room.wav", 1, False, 16_000, 1, None)


@pytest.mark.parametrize("models", [None, ["computer"]])
def test_a_section_without_a_model_is_said(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, models: list[str] | None
) -> None:
    names = ("computer", "compuetr", "jar\nvis")
    flags = [(f"keyword.{name}.threshold", "0.8", "--set") for name in names]
    config = load_config(flags=flags, models=models, environment={}, system_directory=tmp_path)
    for model in open_models(config, INFO):
        model.close()
    said = [line.split(" changes nothing")[0] for line in caplog.messages if "changes" in line]
    # Who names a model for one run has the others' sections in the file all the same.
    assert said == ([] if models else ["[keyword.compuetr]", r"[keyword.'jar\nvis']"])
