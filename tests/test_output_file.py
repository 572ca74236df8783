"""Result files where this user may not look (the rest is in test_replay_outputs)."""

from __future__ import annotations

import pytest
from other_user import closed_folder, other_user

from kwsd.errors import OutputError
from kwsd.output_file import OutputFile


def test_a_folder_that_may_not_be_entered() -> None:
    with closed_folder() as (folder, _), other_user():
        with pytest.raises(OutputError, match=r"a\.csv cannot be written: Permission denied"):
            OutputFile(folder / "a.csv")
