"""What somebody hostile, or somebody's bug, may put where we expect an envelope, a registration or a job."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

__all__ = ["BOMBS", "FUZZ", "JSON", "JSON_TEXTS", "WIRE", "check_message", "mutated", "wire_bytes"]

FUZZ = settings(
    derandomize=True,  # the same examples in every run: CI is to say the same twice
    deadline=None,
    max_examples=120,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)

TEN_MB = 10 * 1024 * 1024

NUMBERS = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0, -1, 2**53, -(2**53), 2**63, 10**15, 10**400, -(10**400), 1e308, 5e-324, -0.0, 0.5])
)
TEXTS = st.text(max_size=20) | st.sampled_from(
    ["", "\0", "a\0b", "\ufeff", "NaN", "1e999", "__proto__", "{hippo}:broker:meta", "x" * 5000, "\u202e", "💥", "null"]
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)

RAW_VALUES = st.sampled_from(
    [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e400",
        "9" * 400,
        "9" * 5000,
        "1" + "0" * 200 + "e200",
        '"\\ud800"',
        '"\\udfff\\ud800"',
        '"\\u0000"',
        "[" * 150 + "]" * 150,
        "[" * 3000 + "]" * 3000,
        '{"a":' * 300 + "1" + "}" * 300,
        '{"a":1,"a":2}',
        "1.5.2",
        "01",
        "+1",
        "undefined",
        "'x'",
        "\ufeff1",
        "",
    ]
)
"""Texts in the place of a JSON value; some are none."""
JSON_TEXTS = JSON.map(json.dumps) | RAW_VALUES
WIRE = st.binary(max_size=200) | JSON_TEXTS.map(lambda text: text.encode(errors="surrogatepass"))
"""Anything at all that may stand in Redis in the place of JSON."""

BOMBS: dict[str, bytes] = {
    "a list of lists": b"[" * TEN_MB,
    "objects in objects": b'{"a":' * 100_000,
    "spaces": b" " * TEN_MB,
    "one long text": b'"' + b"x" * TEN_MB + b'"',
    "one long number": b"9" * TEN_MB,
    "one long float": b"0." + b"9" * TEN_MB,
    "an absurd exponent": b"1e" + b"9" * TEN_MB,
    "many numbers": b"[" + b"1," * (TEN_MB // 2) + b"1]",
    "many objects": b"[" + b"{}," * (TEN_MB // 3) + b"{}]",
    "one name many times": b"{" + b'"a":1,' * (TEN_MB // 6) + b'"a":1}',
    "escapes": b'"' + rb"\u0000" * (TEN_MB // 6) + b'"',
    "lone surrogates": b'"' + rb"\ud800" * (TEN_MB // 6) + b'"',
    "zeros": b"\0" * TEN_MB,
    "no text": b"\xff" * TEN_MB,
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"a":1}',
}
"""Ten megabytes of trouble, or nearly."""


def check_message(error: Exception, longest: int) -> None:
    """However much came, an error stays short, and can be written to Redis and to a log."""
    message = str(error)
    assert 0 < len(message) <= longest, len(message)
    message.encode()


def wire_bytes(members: Iterable[tuple[str, str]]) -> bytes:
    """One JSON object of these members, whose values are texts already; a name may come twice."""
    inside = ",".join(f"{json.dumps(name)}:{value}" for name, value in members)
    return f"{{{inside}}}".encode(errors="surrogatepass")


@st.composite
def mutated(draw: st.DrawFn, valid: dict[str, Any]) -> bytes:
    """A valid object with some of its members gone, replaced, doubled or added, or with some of its bytes changed."""
    members = [(name, json.dumps(value)) for name, value in valid.items()]
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(members)))
        name = members[place][0] if place < len(members) else draw(TEXTS)
        deed = draw(st.sampled_from(["replace", "drop", "double"]))
        if deed != "double" and place < len(members):
            del members[place]
        if deed != "drop":
            members.insert(draw(st.integers(0, len(members))), (name, draw(JSON_TEXTS)))
    raw = bytearray(wire_bytes(members))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    return bytes(raw)
