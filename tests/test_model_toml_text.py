"""The TOML writer against Python's own reader."""

import math
import tomllib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kwsd.model.toml_text import toml_text

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALAR = (
    TEXT
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUE = SCALAR | st.lists(SCALAR, max_size=4)
TABLE = st.recursive(
    st.dictionaries(TEXT, VALUE, max_size=4),
    lambda table: st.dictionaries(
        TEXT, VALUE | table | st.lists(table, min_size=1, max_size=3), max_size=4
    ),
    max_leaves=12,
)


@given(TABLE)
def test_tomllib_reads_it_back(table):
    assert tomllib.loads(toml_text(table)) == table


def test_layout():
    table = {"a": 1, "t": {"x": [1, 2], "deep": {"y": True}}, "row": [{"n": 1}, {"n": 2}], "b": "é"}
    assert toml_text(table).splitlines() == [
        *("a = 1", 'b = "é"', "", "[t]", "x = [1, 2]", "", "[t.deep]", "y = true", ""),
        *("[[row]]", "n = 1", "", "[[row]]", "n = 2"),
    ]


@pytest.mark.parametrize("value", [1e-8, 1e22, 0.1, 5e-324, -0.0, math.inf])
def test_numbers_keep_every_bit(value):
    assert tomllib.loads(toml_text({"v": value}))["v"].hex() == value.hex()


def test_numpy_floats_are_numbers():
    assert toml_text({"a": np.float64(0.5), "b": [np.float64(1e-8)]}) == "a = 0.5\nb = [1e-08]\n"


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="NoneType"):
        toml_text({"a": None})
