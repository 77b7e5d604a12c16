"""The quick looks miss no number that somebody can't hold."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippo_messenger.catalogue.numbers import may_be_infinite, may_be_unsafe
from tests.thorough import FACTOR, IS_THOROUGH

ANY = settings(max_examples=200 * FACTOR, derandomize=not IS_THOROUGH, deadline=None, database=None)


@ANY
@given(st.integers(min_value=2**53) | st.integers(max_value=-(2**53)), st.text(max_size=5))
def test_an_integer_beyond_what_javascript_holds_is_suspected(number: int, name: str) -> None:
    assert may_be_unsafe(json.dumps({name: [number]}).encode())


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_the_words_that_pythons_json_writes_are_suspected(text: str) -> None:
    assert may_be_unsafe(f'{{"n":{text}}}'.encode())
    assert may_be_infinite(f'{{"n":{text}}}'.encode())


@ANY
@given(
    st.sampled_from(["1", "-2.5", "0.001"]),
    st.sampled_from(["e", "E", "e+", "E+"]),
    st.integers(309, 99999) | st.integers(309, 999).map(lambda number: f"00{number}"),
)
def test_an_exponent_that_no_float_has_is_suspected(start: str, sign: str, exponent: int | str) -> None:
    text = f"{start}{sign}{exponent}"
    if not math.isfinite(float(text)):
        assert may_be_infinite(f'{{"n":{text}}}'.encode())


@ANY
@given(st.integers(309, 400))
def test_a_number_of_more_digits_than_any_float_has_is_suspected(length: int) -> None:
    assert may_be_infinite(("[" + "9" * length + ".0]").encode())


@pytest.mark.parametrize(
    "text", ['{"total":"61.30","at":"2026-11-24T16:04:25.767Z","n":12345,"f":1.5e3}', "[]", '"name"']
)
def test_what_is_common_is_not_suspected(text: str) -> None:
    assert not may_be_unsafe(text.encode())
    assert not may_be_infinite(text.encode())
