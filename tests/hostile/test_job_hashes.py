"""Job hashes of any shape in every list of a queue: the queue drains, and the next event goes through."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippo_messenger.queues.layout import QueueKeys
from tests.hostile.strategies import FUZZ, JSON_TEXTS, mutated
from tests.hostile.system import SERVICE, Raw, System, envelope, job

Fields = dict[Raw, Raw | float]

REGISTRATION: dict[str, Any] = {"serviceName": "shipping", "listensTo": ["ORDER_SUCCESS"], "registrationNumber": 3}
KNOWN = (
    *("name", "data", "opts", "timestamp", "delay", "priority", "atm", "ats", "stc", "defa", "rjk", "nrjid", "deid"),
    *(
        "parentKey",
        "parent",
        "stacktrace",
        "processedOn",
        "finishedOn",
        "failedReason",
        "returnvalue",
        "pb",
        "progress",
    ),
)
IDS = st.binary(max_size=12) | st.sampled_from(
    [b"1", b"hostile", b"hostile:lock", b"meta", b"wait", b"de:x", b"\n", b"{x}", b"waiting-children", b"-1", b"1e9"]
)
VALUES: st.SearchStrategy[Raw] = st.one_of(
    st.binary(max_size=30),
    JSON_TEXTS.map(lambda text: text.encode(errors="surrogatepass")),
    st.sampled_from(
        [b"ORDER_SUCCESS", b"hippo.register", b"nan", b"inf", b"-1", b"9" * 30, b"1.5", b"0x10", b"{p}:a:b"]
    ),
    mutated(envelope()),
    mutated(REGISTRATION),
)
OPTIONS = st.dictionaries(
    st.sampled_from(
        [
            "attempts",
            "backoff",
            "removeOnComplete",
            "removeOnFail",
            "priority",
            "delay",
            "lifo",
            "tm",
            "deliverTo",
            "repeat",
            "de",
            "fpof",
            "kl",
            "timestamp",
            "parent",
            "prevMillis",
            "offset",
        ]
    ),
    JSON_TEXTS,
    max_size=4,
).map(
    lambda members: ("{" + ",".join(f'"{name}":{value}' for name, value in members.items()) + "}").encode(
        "utf-8", "surrogatepass"
    )
)
SOUND: tuple[Fields, ...] = (
    job(),
    job(json.dumps(REGISTRATION), name="hippo.register"),
    job(
        json.dumps(REGISTRATION), name="hippo.register", rjk="hippo.register.shipping", opts='{"repeat":{"every":1000}}'
    ),
)


@st.composite
def hashes(draw: st.DrawFn) -> Fields:
    """A sound hash of which some fields are gone or hold something else; or nothing of it is sound."""
    sound = draw(st.sampled_from([*SOUND, {}]))
    changed: Fields = dict(draw(st.dictionaries(st.sampled_from(KNOWN) | st.binary(max_size=8), VALUES, max_size=5)))
    gone = draw(st.sets(st.sampled_from(KNOWN), max_size=2))
    options: Fields = {"opts": draw(OPTIONS)} if draw(st.booleans()) else {}
    return {name: value for name, value in (sound | options | changed).items() if name not in gone}


JOBS = st.lists(st.tuples(IDS, hashes()), min_size=1, max_size=4)
QUEUES = st.sampled_from(["broker", SERVICE])


async def drain(system: System, queue: str, place: str, jobs: list[tuple[bytes, Fields]], score: float) -> None:
    """Put the jobs there, and see them and another one go."""
    keys = {name.removeprefix(QueueKeys(system.settings.prefix, queue).base) for name in system.bus.queue(queue).all}
    for job_id, fields in jobs:
        is_key = job_id.decode(errors="replace") in keys  # what is written to these is another test's matter
        await system.put(queue, job_id, None if is_key else fields, place=place, score=score)
    await system.send_and_receive()
    await system.drained()
    system.check_alive()


@settings(FUZZ, max_examples=120)
@given(queue=QUEUES, place=st.sampled_from(["wait", "prioritized", "delayed"]), jobs=JOBS, score=st.floats(0, 2**40))
async def test_a_queue_drains_whatever_hashes_wait_in_it(
    system: System, queue: str, place: str, jobs: list[tuple[bytes, Fields]], score: float
) -> None:
    await drain(system, queue, place, jobs, score)


@settings(FUZZ, max_examples=8)
@given(queue=QUEUES, jobs=JOBS)
async def test_a_queue_drains_whatever_hashes_a_dead_worker_held(
    system: System, queue: str, jobs: list[tuple[bytes, Fields]]
) -> None:
    await drain(system, queue, "active", jobs, 0)


@pytest.mark.parametrize("place", ["wait", "prioritized", "delayed", "active"])
@pytest.mark.parametrize("queue", ["broker", SERVICE])
async def test_a_hundred_hashes_at_once_hold_up_nobody(system: System, queue: str, place: str) -> None:
    values = (b"", b"\xff\xfe", b"nan", b"[" * 5000, b"9" * 400)
    jobs: list[tuple[bytes, Fields]] = [
        (b"%s-%d" % (field.encode(), len(value)), job(envelope(f"hostile-event-{number:04}")) | {field: value})
        for number, field in enumerate(KNOWN)
        for value in values
    ]
    await drain(system, queue, place, jobs, 0)
