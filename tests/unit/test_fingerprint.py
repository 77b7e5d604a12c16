"""Two dead letters are of one group where they most likely have one cause."""

from __future__ import annotations

import traceback

import pytest

from hippo_messenger.queues.fingerprint import Fingerprint, fingerprint_of

PYTHON = """Traceback (most recent call last):
  File "/venv/lib/python3.12/site-packages/hippo_messenger/processing.py", line 132, in process
    returned = await self._run(processor, event)
               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/venv/lib/python3.12/site-packages/hippo_messenger/processing.py", line 180, in _run
    return await processor(event)
  File "/venv/lib/python3.12/site-packages/retrying/wrap.py", line 7, in wrapper
    return await function(event)
  File "/srv/shipping/parcels.py", line {line}, in ship
    return label(event.data)
  File "/srv/shipping/carrier.py", line 12, in label
    raise CarrierError({message!r})
shipping.carrier.CarrierError: {message}
"""
NODE = """TypeError [ERR_INVALID]: Cannot read properties of undefined (reading 'sku')
    at label (/app/carrier.mjs:3:15)
    at Worker.processFn (file:///app/worker.mjs:10:9)
    at Worker.callProcessJob (/app/node_modules/bullmq/dist/cjs/classes/worker.js:190:21)
    at process.processTicksAndRejections (node:internal/process/task_queues:105:5)"""
UNFIT = "EventValidationError: the data doesn't fit ORDER_SUCCESS: "


def test_a_python_error_is_known_by_its_class_and_the_first_own_frame() -> None:
    found = fingerprint_of("ORDER_SUCCESS", "CarrierError: no", [PYTHON.format(line=41, message="no")])
    assert found == Fingerprint("ORDER_SUCCESS", "CarrierError", "shipping/parcels.py:ship")


def test_lines_and_messages_make_no_difference_but_event_class_and_place_do() -> None:
    one = fingerprint_of("A", "CarrierError: order 17", [PYTHON.format(line=41, message="order 17")])
    same = fingerprint_of("A", "CarrierError: order 18", ["older", PYTHON.format(line=97, message="a\nb: c")])
    assert one.group == same.group
    trace = PYTHON.format(line=41, message="order 17")
    others = [
        fingerprint_of("B", "CarrierError: order 17", [trace]),
        fingerprint_of("A", "OtherError: order 17", [trace.replace("CarrierError", "OtherError")]),
        fingerprint_of("A", "CarrierError: order 17", [trace.replace("in ship", "in send_back")]),
    ]
    assert len({one.group, *(other.group for other in others)}) == 4


def test_of_a_chain_of_errors_the_last_counts() -> None:
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer: with a colon\nKeyError: and lines") from error
    except ValueError as error:
        trace = "".join(traceback.format_exception(error))
    found = fingerprint_of("X", "ValueError: outer", [trace])
    assert found.error == "ValueError"
    assert found.place == "unit/test_fingerprint.py:test_of_a_chain_of_errors_the_last_counts"


def test_an_error_of_node_is_known_by_its_innermost_own_frame() -> None:
    found = fingerprint_of("X", "Cannot read properties of undefined (reading 'sku')", [NODE])
    assert found == Fingerprint("X", "TypeError", "app/carrier.mjs:label")


@pytest.mark.parametrize(
    ("reason", "error", "place"),
    [
        (UNFIT + "orderId: required", "required", "orderId"),
        (UNFIT + "items.3.quantity: Input should be a valid integer, got 'x'; total: required",
         "Input should be a valid integer", "items.*.quantity"),
        (UNFIT + "items.12.quantity: Input should be a valid integer, got 'y'",
         "Input should be a valid integer", "items.*.quantity"),
        ("the data doesn't fit ORDER_SUCCESS: orderId: required", "required", "orderId"),
    ],
)  # fmt: skip
def test_data_that_does_not_fit_is_known_by_rule_and_path(reason: str, error: str, place: str) -> None:
    trace = PYTHON.format(line=1, message="no")
    assert fingerprint_of("ORDER_SUCCESS", reason, [trace]) == Fingerprint("ORDER_SUCCESS", error, place)


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("UnknownEventTypeError: expected an event type of the catalogue, got 'X'", "UnknownEventTypeError"),
        ("job stalled more than allowable limit", "job stalled more than allowable limit"),
        ("returned 70,000 bytes of 'JSON'", "returned … bytes of …"),
        ("", ""),
        ("x" * 500, "x" * 79 + "…"),
    ],
)
def test_without_an_own_frame_the_reason_says_what_it_is(reason: str, error: str) -> None:
    assert fingerprint_of("X", reason, []) == Fingerprint("X", error, "")
    assert fingerprint_of("X", reason, ["no trace at all"]) == Fingerprint("X", error, "")
