"""Jobs that nobody of ours made, in the broker's queue and a service's: each ends, and the next event goes through."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import bullmq
import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent
from hippo_messenger.errors import EventValidationError
from hippo_messenger.queues.layout import QueueKeys
from tests.hostile.strategies import TEN_MB
from tests.hostile.system import SERVICE, Raw, System, envelope, job

Fields = dict[Raw, Raw | float]
DEEP = 100_000

FAILED = "failed"
COMPLETED = "completed"
DROPPED = "dropped"


def _with_options(options: str | bytes) -> Fields:
    return job(opts=options)


NAMES: dict[str, Raw] = {
    "foreign": "sendEmail",
    "no text": b"\xff\xfe\x00",
    "empty": "",
    "a megabyte": "x" * 1_000_000,
    "a registration's": "hippo.register",
}

NO_EVENT: dict[str, Fields] = {
    "a foreign job": job({"to": "x@example.org"}, name="sendEmail"),
    "a registration with a number for a list": job({"serviceName": "account", "listensTo": 7}, name="hippo.register"),
    "empty data": job(""),
    "data that is no text": job(b"\xff" * 1000),
    "data that is null": job("null"),
    "data of zeros": job(b"\0" * 1000),
    "data with a byte order mark": job(b"\xef\xbb\xbf" + json.dumps(envelope()).encode()),
    "data in UTF-16": job(json.dumps(envelope()).encode("utf-16")),
    "data nested deep": job("[" * DEEP + "]" * DEEP),
    "an envelope nested deep": job(json.dumps(envelope())[:-1] + ',"deep":' + "[" * DEEP + "]" * DEEP + "}"),
    "10 MB of nothing": job(b" " * TEN_MB),
    "10 MB of text": job(b'"' + b"x" * TEN_MB + b'"'),
    "10 MB of wrong items": job(
        json.dumps(envelope(data={"orderId": "A", "total": 1, "items": 7})).replace(
            "7", "[" + "{}," * (TEN_MB // 3) + "{}]"
        )
    ),
    "a type of 10 MB": job(envelope(type="x" * TEN_MB)),
    "a type that is unknown": job(envelope(type="ORDER_SUCCES"), name="ORDER_SUCCES"),
    "a type of no text": job(json.dumps(envelope(type="\ud800"))),
    "an id that is a key": job(envelope("waiting-children")),
    "an id with a colon": job(envelope("order:0123456789abcdef")),
    "an id that is a number": job(envelope("1234567890123456")),
    "an id of 300 letters": job(envelope("x" * 300)),
    "an id with a line break": job(envelope("hostile-event-0001\n")),
    "no number": job(json.dumps(envelope()).replace('"total": "1"', '"total": NaN')),
    "an unknown member that is no number": job(
        json.dumps(envelope(data={"orderId": "A", "total": 1, "x": float("nan")}))
    ),
    "another member that is infinite": job(json.dumps(envelope(x=float("inf")))),
    "data of the wrong kind": job(envelope(data=[1, 2])),
    "data that does not fit": job(envelope(data={"orderId": 7, "total": "much"})),
    "a reason to fail": job(defa="it is to fail"),
    "a reason to fail that is no text": job(defa=b"\xff\xfe"),
    "a reason to fail of a megabyte": job(defa="x" * 1_000_000),
    "no name": job(without=["name"]),
    "no data": job(without=["data"]),
}
"""What no processor can be given: a failed job that says why."""

ODD: dict[str, Fields] = {
    "nothing but name and data": job(without=["opts", "timestamp", "delay", "priority"]),
    "an absurd timestamp": job(timestamp="1e308"),
    "a timestamp that is none": job(timestamp="soon"),
    "a timestamp in the year 9999": job(envelope(time=None), timestamp="253402300799000"),
    "a timestamp beyond all years": job(envelope(time=None), timestamp="9" * 40),
    "a timestamp before all years": job(envelope(time=None), timestamp="-" + "9" * 40),
    "a priority that is none": job(priority="nan"),
    "a negative delay": job(delay="-5"),
    "counters that are none": job(atm="x", ats="-1", stc="1e99"),
    "absurd counters": job(ats="9" * 15, atm="9" * 15, stc="9" * 15),
    "fields of no text": job() | {b"\xff\xfe": b"\xff", b"": b"", b"\0": b"\0"},
    "a parent that is none": job(parentKey="x", parent="{"),
    "a trace that is none": job(stacktrace="["),
    "a trace nested deep": job(stacktrace="[" * DEEP),
    "deduplicated by nothing": job(deid=""),
    "opts that are none": _with_options("{"),
    "opts that are no object": _with_options("[1]"),
    "opts that are no text": _with_options(b"\xff\xfe"),
    "opts nested deep": _with_options('{"a":' + "[" * DEEP + "]" * DEEP + "}"),
    "opts of 10 MB": _with_options('{"a":"' + "x" * TEN_MB + '"}'),
    "absurd attempts": _with_options('{"attempts":1e308,"backoff":{"type":[],"delay":-1,"jitter":1e308}}'),
    "attempts of 400 digits": _with_options('{"attempts":1' + "0" * 400 + "}"),
    "attempts of 5,000 digits": _with_options('{"attempts":1' + "0" * 5000 + "}"),
    "no attempts": _with_options('{"attempts":0}'),
    "infinite numbers": _with_options('{"attempts":Infinity,"removeOnComplete":{"age":Infinity,"count":1e999}}'),
    "retention of 400 digits": _with_options('{"removeOnComplete":1' + "0" * 400 + "}"),
    "retention of the wrong kind": _with_options('{"removeOnComplete":"soon","removeOnFail":[]}'),
    "a priority in opts that is none": _with_options('{"priority":true}'),
    "a priority in opts of 400 digits": _with_options('{"priority":1' + "0" * 400 + "}"),
    "tm that is none": _with_options('{"tm":"{"}'),
    "tm that is no JSON": _with_options('{"tm":"{\\"a\\":NaN}"}'),
    "tm nested deep": _with_options(json.dumps({"tm": "[" * DEEP})),
    "tm of no text": _with_options('{"tm":"{\\"a\\":\\"\\ud800\\"}"}'),
    "deliver to nothing of ours": _with_options('{"deliverTo":7}'),
}
"""What is an event all the same, and is processed."""


@pytest.mark.parametrize("queue", ["broker", SERVICE])
@pytest.mark.parametrize("fault", NO_EVENT)
async def test_what_is_no_event_fails_with_a_reason_and_the_next_one_goes_through(
    system: System, fault: str, queue: str
) -> None:
    await system.put(queue, "hostile-job", NO_EVENT[fault])
    await system.send_and_receive()
    await system.drained()
    state, reason = await system.end_of(queue, "hostile-job")
    assert (state, reason == "") == (FAILED, False)
    assert len(reason) < 5000


@pytest.mark.parametrize("fault", NAMES)
async def test_a_job_whose_name_is_not_its_events_type_fails_at_the_broker_and_is_processed_by_a_worker(
    system: System, fault: str
) -> None:
    for queue in ("broker", SERVICE):
        await system.put(queue, "hostile-job", job(name=NAMES[fault]))
    await system.send_and_receive()
    await system.drained()
    assert (await system.end_of("broker", "hostile-job"))[0] == FAILED
    assert (await system.end_of(SERVICE, "hostile-job"))[0] == COMPLETED


@pytest.mark.parametrize("queue", ["broker", SERVICE])
@pytest.mark.parametrize("fault", ODD)
async def test_an_event_in_an_odd_job_is_processed_as_any_other(system: System, fault: str, queue: str) -> None:
    await system.put(queue, "hostile-job", ODD[fault])
    await system.send_and_receive()
    await system.drained()
    assert (await system.end_of(queue, "hostile-job"))[0] == COMPLETED
    assert "hostile-event-0001" in system.recorder.ids
    await assert_copies_can_be_read(system)


async def assert_copies_can_be_read(system: System) -> None:
    """What the broker passes on is JSON for everybody, a Node worker too."""
    raw = await system.redis.hget(system.key(SERVICE, "hostile-event-0001"), "opts")
    if raw is not None:
        options = strict(raw)
        assert isinstance(strict(options.get("tm", "{}")), dict)
        assert options.get("priority", 1) in range(1, 2**21 + 1)


def strict(text: str | bytes) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


IDS: dict[str, Raw] = {
    "a number": "7",
    "no text": b"\xff\xfe\x00",
    "empty": "",
    "a lock": "1:lock",
    "a log": "hostile:logs",
    "a tag": "{other}:broker:x",
    "a line break": "a\nb\r\n",
    "quotes": "a\"b'c\\",
    "a pattern": "*",
    "a space": " ",
    "300 letters": "x" * 300,
    "64 KB": "x" * 65_536,
    "a script": "'); redis.call('FLUSHALL')--",
    "digits of another script": "²",
    "5,000 digits": "9" * 5000,
    "minus one": "-1",
    "a tick": "repeat:of.somebody:1",
}


@pytest.mark.parametrize("queue", ["broker", SERVICE])
@pytest.mark.parametrize("fault", IDS)
async def test_an_event_under_an_id_that_looks_like_something_else_is_processed(
    system: System, fault: str, queue: str
) -> None:
    await system.put(queue, IDS[fault], job())
    await system.send_and_receive()
    await system.drained()
    assert (await system.end_of(queue, IDS[fault]))[0] == COMPLETED
    assert "hostile-event-0001" in system.recorder.ids


@pytest.mark.parametrize("fault", IDS)
async def test_a_registration_under_any_id_is_taken(system: System, fault: str) -> None:
    data = '{"serviceName":"shipping","listensTo":["ORDER_SUCCESS"]}'
    await system.put("broker", IDS[fault], job(data, name="hippo.register"))
    await system.send_and_receive()
    await system.drained("broker")
    assert (await system.end_of("broker", IDS[fault]))[0] == COMPLETED
    assert await system.redis.hexists(system.bus.layout.registry, "shipping")


KEYS = [key.rpartition(":")[2] for key in QueueKeys("{p}", "q").all if not key.endswith(":paused")]


@pytest.mark.parametrize("queue", ["broker", SERVICE])
@pytest.mark.parametrize(
    "name",
    [*KEYS, "stalled-check", "repeat", "metrics:completed"],
)
async def test_an_id_that_is_a_key_of_the_queue_is_dropped_and_the_key_is_left_alone(
    system: System, name: str, queue: str
) -> None:
    await system.send_and_receive()
    if name == "meta":
        await system.redis.hset(system.key(queue, "meta"), mapping={**job(), "version": "x"})
    before = await system.redis.type(system.key(queue, name))
    for _ in range(3):
        await system.put(queue, name, None)
    await system.send_and_receive()
    await system.drained()
    assert await system.end_of(queue, name) == (DROPPED, "")
    assert await system.redis.type(system.key(queue, name)) in (before, b"none")
    if name == "meta":
        assert await system.redis.hget(system.key(queue, "meta"), "version") == b"x"


@pytest.mark.parametrize("queue", ["broker", SERVICE])
@pytest.mark.parametrize("place", ["wait", "prioritized", "delayed", "active"])
async def test_ids_without_a_job_are_dropped(system: System, queue: str, place: str) -> None:
    for number in range(20):
        await system.put(queue, f"nobody-{number}", None, place=place, score=number)
    await system.send_and_receive()
    await system.drained()


@pytest.mark.parametrize("queue", ["broker", SERVICE])
@pytest.mark.parametrize("score", ["-inf", "inf", "-1", "1e308", "5e-324"])
async def test_a_priority_that_is_none_comes_to_its_turn(system: System, queue: str, score: str) -> None:
    await system.put(queue, "hostile-job", job(), place="prioritized", score=float(score))
    await system.send_and_receive()
    await system.drained()
    assert (await system.end_of(queue, "hostile-job"))[0] == COMPLETED


async def test_one_id_in_every_list_at_once_is_delivered_once(system: System) -> None:
    for place in ("wait", "wait", "prioritized", "delayed", "active"):
        await system.put("broker", "hostile-job", job(), place=place, score=1)
    await system.send_and_receive()
    await system.drained()
    assert system.recorder.ids.count("hostile-event-0001") == 1


async def test_one_id_in_every_list_of_a_service_ends(system: System) -> None:
    for place in ("wait", "wait", "prioritized", "delayed", "active"):
        await system.put(SERVICE, "hostile-job", job(), place=place, score=1)
    await system.send_and_receive()
    await system.drained()
    assert 1 <= system.recorder.ids.count("hostile-event-0001") <= 5


# The settings of a queue

META: dict[str, str] = {
    "concurrency -1": "concurrency=-1",
    "concurrency none": "concurrency=x",
    "max none": "max=x",
    "max negative": "max=-3",
    "max 0": "max=0",
    "max 0 for a while": "max=0,duration=100",
    "max absurd": "max=1e308",
    "duration none": "max=1000,duration=x",
    "duration 0": "max=1,duration=0",
    "duration negative": "max=1000,duration=-1",
    "events negative": "opts.maxLenEvents=-5",
    "events none": "opts.maxLenEvents=x",
    "events 0": "opts.maxLenEvents=0",
    "a version of nothing": "version=\xff",
}


@pytest.mark.parametrize("queue", ["broker", SERVICE])
@pytest.mark.parametrize("fault", META)
async def test_settings_of_a_queue_that_are_nonsense_stop_nothing(system: System, fault: str, queue: str) -> None:
    for word in META[fault].split(","):
        name, _, value = word.partition("=")
        await system.redis.hset(system.key(queue, "meta"), name, value)
    await system.put(queue, "hostile-job", job())
    await system.send_and_receive()
    await system.drained()
    assert (await system.end_of(queue, "hostile-job"))[0] == COMPLETED


@pytest.mark.parametrize("value", ["maybe", "0", "", "false"])
@pytest.mark.parametrize("queue", ["broker", SERVICE])
async def test_a_queue_is_paused_whatever_the_word_and_goes_on_when_it_is_gone(
    system: System, queue: str, value: str
) -> None:
    await system.redis.hset(system.key(queue, "meta"), "paused", value)
    event_id = await system.sender.send(event_type=HippoEvent.ORDER_SUCCESS, data={"orderId": "A", "total": 1})
    await system.bus.settled("broker", **({"wait": 1, "completed": 1} if queue == "broker" else {"completed": 2}))
    assert event_id not in system.recorder.ids

    await system.redis.hdel(system.key(queue, "meta"), "paused")
    await system.redis.zadd(system.key(queue, "marker"), {"0": 0})

    await system.send_and_receive()
    await system.drained()
    assert event_id in system.recorder.ids


# With BullMQ's own package

ADDED: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "a foreign job": ("sendEmail", {"to": "x"}, {}),
    "no data": ("ORDER_SUCCESS", None, {}),
    "deep data": ("ORDER_SUCCESS", json.loads("[" * 500 + "]" * 500), {}),
    "10 MB": ("ORDER_SUCCESS", "x" * TEN_MB, {}),
    "an integer as id": ("ORDER_SUCCESS", envelope(), {"jobId": "12"}),
    "an id of words": ("ORDER_SUCCESS", envelope(), {"jobId": "one: {two} 'three'\n"}),
    "absurd attempts": ("ORDER_SUCCESS", {}, {"attempts": 1e308, "backoff": {"type": "x", "delay": -1}}),
    "a backoff of nothing": ("ORDER_SUCCESS", envelope(), {"attempts": 3, "backoff": []}),
    "a negative delay": ("ORDER_SUCCESS", envelope(), {"delay": -1000}),
    "the year 9999": ("ORDER_SUCCESS", envelope(), {"timestamp": 253402300799000}),
    "before 1970": ("ORDER_SUCCESS", envelope(), {"timestamp": -(10**15)}),
    "last in, first out": ("ORDER_SUCCESS", envelope(), {"lifo": True, "attempts": 0}),
    "tm of nothing": ("ORDER_SUCCESS", envelope(), {"tm": "{"}),
    "kept for no time": ("ORDER_SUCCESS", envelope(), {"removeOnComplete": {"age": -1, "count": "x"}}),
    "options of its own": ("ORDER_SUCCESS", envelope(), {"deliverTo": "x", "rejected": 1, "rjk": "y"}),
}


@pytest.mark.parametrize("queue", ["broker", SERVICE])
@pytest.mark.parametrize("fault", ADDED)
async def test_what_bullmq_lets_anybody_add_ends(system: System, fault: str, queue: str) -> None:
    name, data, options = ADDED[fault]
    stock: Any = bullmq.Queue(queue, {"prefix": system.settings.prefix, "connection": system.bus.url})
    try:
        added = await stock.add(name, data, options)
    finally:
        await stock.close()
    await system.send_and_receive()
    await system.drained()
    state, reason = await system.end_of(queue, str(added.id))
    if isinstance(data, dict) and "specversion" in data:
        assert state == COMPLETED
        assert "hostile-event-0001" in system.recorder.ids
    else:
        assert (state, reason == "") == (FAILED, False)


# What a user may do by mistake


def _circle() -> dict[str, Any]:
    circle: dict[str, Any] = {"orderId": "A", "total": 1}
    circle["self"] = circle
    return circle


def _deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


DATA: dict[str, Callable[[], dict[str, Any]]] = {
    "half of a pair": lambda: {"orderId": "\ud800", "total": 1},
    "half of a pair as a name": lambda: {"orderId": "A", "total": 1, "\ud800": 1},
    "half of a pair in a wrong field": lambda: {"orderId": 7, "total": "\ud800"},
    "an integer of 5,000 digits": lambda: {"orderId": 10**5000, "total": 10**5000},
    "no number": lambda: {"orderId": "A", "total": 1, "x": float("nan")},
    "something that is no JSON": lambda: {"orderId": "A", "total": 1, "x": object()},
    "itself": _circle,
    "deep": lambda: {"orderId": "A", "total": 1, "x": _deep(DEEP)},
    "deep and wrong": lambda: {"orderId": _deep(DEEP)},
}


@pytest.mark.parametrize("fault", DATA)
async def test_data_that_has_no_json_is_refused_by_name_and_recorded(system: System, fault: str) -> None:
    with pytest.raises(EventValidationError):
        await system.sender.send(event_type=HippoEvent.ORDER_SUCCESS, data=DATA[fault](), notify_self=True)
    await system.send_and_receive()
    [record] = await system.bus.failed("broker")
    assert record["failedReason"] != ""
