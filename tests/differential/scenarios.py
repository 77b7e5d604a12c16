"""What the two sides are put through, by name."""

from __future__ import annotations

from tests.differential.steps import (
    FIRST,
    SECOND,
    Add,
    Command,
    Deliver,
    Discard,
    Flow,
    Job,
    Limit,
    Note,
    Peer,
    Recover,
    Redrive,
    Renew,
    Settle,
    Step,
    Take,
    back,
    completed,
    failed,
    later,
    retry,
)

__all__ = ["SCENARIOS"]

A, B, C, D = (Job(f"event-{letter}") for letter in "abcd")
a, b, c, d = A.id, B.id, C.id, D.id
PAUSE = Command("HSET", "meta", "paused", 1)
RESUME = Command("HDEL", "meta", "paused")
MINUTE = 60_000


def _urgent(letter: str, priority: int) -> Job:
    return Job(f"event-{letter}", priority=priority)


def _delayed(letter: str, delay: int = MINUTE, priority: int = 0) -> Job:
    return Job(f"event-{letter}", delay=delay, priority=priority)


def _due(job: str) -> Command:
    return Command("ZADD", "delayed", 1, job)


def _child(letter: str, **opts: object) -> Job:
    return Job(f"event-{letter}", opts=opts, parent=(FIRST, "parent"))


def _unique(letter: str, **more: object) -> Job:
    return Job(f"event-{letter}", opts={"de": {"id": "one", **more}})


PARENT = Job("parent")
TWO_DONE = (Take(2), Settle(completed(a), completed(b)))

SCENARIOS: dict[str, tuple[Step, ...]] = {
    # add
    "add one": (Add(A),),
    "add several": (Add(A, B, C), Add(D)),
    "add delayed": (Add(_delayed("a"), _delayed("b", 2 * MINUTE), _delayed("c")), Add(_delayed("d", 30_000))),
    "add prioritised": (Add(_urgent("a", 5), _urgent("b", 1), _urgent("c", 5)),),
    "add delayed and prioritised": (Add(_delayed("a", priority=3)),),
    "add lifo": (Add(A, Job("event-b", lifo=True), C),),
    "add without an id": (Add(Job(""), Job("")),),
    "add all kinds": (Add(A, _delayed("b"), _urgent("c", 2), Job("event-d", lifo=True)),),
    "add the same id again": (Add(A), Add(A, B, A), Take(1), Add(A)),
    "add the same id again once it is completed": (Add(A), Take(), Settle(completed(a)), Add(A)),
    "add to a paused queue": (PAUSE, Add(A, _urgent("b", 1), _delayed("c"))),
    "add to a queue at its concurrency": (Command("HSET", "meta", "concurrency", 1), Add(A), Take(), Add(B)),
    "add with a length of the events stream": (Command("HSET", "meta", "opts.maxLenEvents", 500), Add(A, B)),
    # take
    "take nothing": (Take(3),),
    "take some of several": (Add(A, B, C), Take(2)),
    "take more than there are": (Add(A, B), Take(5)),
    "take with a worker's name": (Add(A, B), Take(2, worker="worker-1")),
    "take prioritised": (Add(_urgent("a", 5), _urgent("b", 1), _urgent("c", 5)), Take(2), Take(5)),
    "take waiting before prioritised": (Add(_urgent("a", 1), B, C), Take(2), Take(2)),
    "take what is due": (Add(_delayed("a"), _delayed("b")), _due(b), Take(5)),
    "take what is due and prioritised": (Add(_delayed("a", priority=2), B), _due(a), Take(1), Take(1)),
    "take one of several that are due": (Add(_delayed("a"), _delayed("b"), _delayed("c")), _due(a), _due(b), Take(1)),
    "take from a paused queue": (Add(A, _delayed("b")), _due(b), PAUSE, Take(2)),
    "take once resumed": (PAUSE, Add(A), RESUME, Take(2)),
    "take up to the concurrency": (Command("HSET", "meta", "concurrency", 2), Add(A, B, C), Take(5), Take(1)),
    "take up to the concurrency, delayed": (
        Command("HSET", "meta", "concurrency", 1),
        Add(A, _delayed("b")),
        Take(1),
        _due(b),
        Take(1),
    ),
    "take up to the rate limit": (
        Command("HSET", "meta", "max", 2, "duration", MINUTE),
        Add(A, B, C),
        Take(5),
        Take(1),
    ),
    "take up to the rate limit, in two": (
        Command("HSET", "meta", "max", 3, "duration", MINUTE),
        Add(A, B, C, D),
        Take(2),
        Take(2),
    ),
    "take deferred failures without counting them": (
        Command("HSET", "meta", "max", 1, "duration", MINUTE),
        Add(A, B),
        Command("HSET", a, "defa", "it is lost"),
        Take(2),
    ),
    # finish
    "complete": (Add(A), Take(), Settle(completed(a))),
    "complete several": (Add(A, B, C), Take(3), Settle(completed(a), completed(b, '"text"'), completed(c, "null"))),
    "complete one of two": (Add(A, B), Take(2), Settle(completed(a))),
    "complete while a delayed job stands": (Add(A, _delayed("b")), Take(), Settle(completed(a))),
    "complete and take the next": (Add(A, B), Take(), Settle(completed(a), fetch=True)),
    "complete the last and take nothing": (Add(A), Take(), Settle(completed(a), fetch=True)),
    "complete, and a delayed job is next": (Add(A, _delayed("b")), Take(), Settle(completed(a), fetch=True)),
    "complete in a paused queue": (Add(A), Take(), PAUSE, Settle(completed(a), fetch=True)),
    "complete at the rate limit": (
        Command("HSET", "meta", "max", 1, "duration", MINUTE),
        Add(A, B),
        Take(),
        Settle(completed(a), fetch=True),
    ),
    "complete in the order of none": (Add(A, B, C), Take(3), Settle(completed(c), completed(a), completed(b))),
    "keep a number": (
        Add(A, B, C, D),
        Take(4),
        Settle(*(completed(job, count=2) for job in (a, b, c))),
        Settle(completed(d, count=1)),
    ),
    "keep none": (Add(A, B), Take(2), Settle(completed(a, count=0), completed(b, count=0))),
    "keep none of the second": (Add(A, B), Take(2), Settle(completed(a), completed(b, count=0))),
    "keep for a time": (
        Add(A, B, C),
        Take(3),
        Settle(completed(a, age=60), completed(b, age=60)),
        Command("ZADD", "completed", 1, a),
        Settle(completed(c, age=60)),
    ),
    "keep for a time and a number": (
        Add(A, B, C),
        Take(3),
        Settle(completed(a), completed(b)),
        Command("ZADD", "completed", 1, a),
        Settle(completed(c, age=60, count=1)),
    ),
    "keep a number, then more": (
        Add(A, B, C, D),
        Take(4),
        Settle(completed(a, count=1), completed(b, count=1), completed(c, count=5), completed(d, count=5)),
    ),
    "keep removes all of a job": (
        Add(A, B),
        Take(2),
        Command("RPUSH", f"{a}:logs", "line"),
        Settle(completed(a, count=1)),
        Settle(completed(b, count=1)),
    ),
    "fail for good": (Add(A), Take(), Settle(failed(a))),
    "fail at the last attempt": (Add(A), Take(), Settle(failed(a, attempts=1))),
    "fail a deferred failure": (
        Add(A),
        Command("HSET", a, "defa", "it is lost"),
        Take(),
        Settle(failed(a, "it is lost")),
    ),
    "fail and keep a number": (
        Add(A, B, C),
        Take(3),
        Settle(failed(a, count=1), failed(b, count=1), failed(c, count=1)),
    ),
    "fail and keep none": (Add(A), Take(), Settle(failed(a, count=0))),
    "fail one, complete one": (Add(A, B), Take(2), Settle(failed(a), completed(b))),
    # put back
    "retry at once": (Add(A, B), Take(2), Settle(retry(a)), Take(1)),
    "retry at once, lifo": (Add(Job("event-a", lifo=True), B), Take(1), Settle(retry(a)), Take(1)),
    "retry at once, prioritised": (Add(_urgent("a", 3), _urgent("b", 3)), Take(2), Settle(retry(b), retry(a))),
    "retry later": (Add(A, B), Take(2), Settle(retry(a, delay=MINUTE), retry(b, delay=2 * MINUTE))),
    "retry until it is dead": (
        Add(A),
        Take(),
        Settle(retry(a)),
        Take(),
        Settle(retry(a, delay=MINUTE)),
        _due(a),
        Take(),
        Settle(failed(a)),
    ),
    "retry in a paused queue": (Add(A), Take(), PAUSE, Settle(retry(a))),
    "retry later and take the next": (Add(A, B), Take(), Settle(retry(a, delay=MINUTE), fetch=True)),
    "retry at the concurrency": (
        Command("HSET", "meta", "concurrency", 2),
        Add(A, B, C),
        Take(2),
        Settle(retry(a)),
    ),
    "complete at the concurrency": (
        Command("HSET", "meta", "concurrency", 1),
        Add(A, B),
        Take(),
        Command("DEL", "marker"),
        Settle(completed(a)),
        Take(),
        Settle(completed(b), fetch=True),
    ),
    "move to delayed without an attempt": (Add(A, B), Take(2), Settle(later(a, delay=MINUTE), later(b, delay=MINUTE))),
    "complete before one is delayed": (Add(A, B), Take(2), Settle(completed(a), later(b, delay=MINUTE))),
    "complete after one is delayed": (Add(A, B), Take(2), Settle(later(b, delay=MINUTE), completed(a))),
    "move back to wait": (Add(A, B, C), Take(2), Settle(back(b), back(a)), Take(3)),
    "move back to prioritised": (Add(_urgent("a", 2), _urgent("b", 2)), Take(1), Settle(back(a)), Take(2)),
    "move back in a paused queue": (Add(A), Take(), PAUSE, Settle(back(a))),
    "every outcome at once": (
        Add(A, B, C, D, Job("event-e")),
        Take(5),
        Settle(completed(a), failed(b), retry(c), later(d, delay=MINUTE), back("event-e")),
    ),
    # locks and stalls
    "count by the minute": (
        Command("HSET", "metrics:completed", "count", 7, "prevTS", 1, "prevCount", 3),
        Command("HSET", "metrics:failed", "count", 1, "prevTS", 1, "prevCount", 1),
        Command("RPUSH", "metrics:completed:data", 9, 9),
        Add(A, B, C, D),
        Take(4),
        Settle(completed(a), completed(b), failed(c), completed(d, count=0)),
    ),
    "count what is delivered": (
        Command("HSET", "metrics:completed", "count", 7, "prevTS", 1, "prevCount", 3),
        Add(A, B),
        Take(2),
        Deliver(a, b, to=(FIRST,)),
    ),
    "renew locks": (Add(A, B), Take(2), Recover(), Renew(a, b), Recover()),
    "renew a lock that is lost": (Add(A, B), Take(2), Command("DEL", f"{a}:lock"), Renew(a, b)),
    "renew a lock that is another's": (Add(A), Take(), Command("SET", f"{a}:lock", "other"), Renew(a)),
    "recover what stalled": (Add(A, B), Take(2), Command("DEL", f"{a}:lock"), Recover(), Recover(), Take(2)),
    "recover what stalled too often": (
        Add(A),
        Take(),
        Command("DEL", f"{a}:lock"),
        Recover(0),
        Recover(0),
        Take(),
        Settle(failed(a, "job stalled more than allowable limit")),
    ),
    "recover a prioritised job": (Add(_urgent("a", 4)), Take(), Command("DEL", f"{a}:lock"), Recover(), Recover()),
    "recover in a paused queue": (Add(A), Take(), PAUSE, Command("DEL", f"{a}:lock"), Recover(), Recover()),
    "recover a scheduler's job": (
        Peer(Job("event-a", scheduler="tick")),
        Command("HSET", "repeat:tick", "every", 1000),
        Take(),
        Command("DEL", f"{a}:lock"),
        Recover(0),
        Recover(0),
    ),
    "recover nothing": (Recover(), Recover()),
    # what a processor says of its job
    "log": (Add(A), Take(), Note("log", a, "one"), Note("log", a, ""), Note("log", a, "zwei ✓"), Settle(completed(a))),
    "log and keep a number of lines": (
        Add(Job("event-a", opts={"kl": 2})),
        Take(),
        *(Note("log", a, line) for line in ("one", "two", "three")),
        Settle(completed(a)),
    ),
    "tell progress": (Add(A), Take(), Note("progress", a, "50"), Note("progress", a, '{"done":1}'), Settle(retry(a))),
    "tell progress of a job that has been put back": (
        Add(A),
        Take(),
        Settle(retry(a)),
        Take(),
        Note("progress", a, "1.5"),
        Settle(failed(a)),
    ),
    # dead letters at their limit
    "pause at a number of failed jobs": (Add(A, B), Take(), Settle(failed(a)), Limit(2), Limit(1), Take()),
    "pause with jobs of every kind left": (
        Add(A, B, _delayed("c"), _urgent("d", 2)),
        Take(),
        Settle(failed(a)),
        Limit(1),
        RESUME,
        Take(2),
    ),
    # jobs of peers
    "settle a scheduler's job": (Peer(Job("event-a", scheduler="tick")), Take(), Settle(completed(a))),
    "fail a scheduler's job": (Peer(Job("event-a", scheduler="tick")), Take(), Settle(failed(a))),
    "retry a scheduler's job": (
        Peer(Job("event-a", scheduler="tick")),
        Take(),
        Settle(retry(a, delay=MINUTE)),
        _due(a),
        Take(),
        Settle(back(a)),
    ),
    "settle a deduplicated job": (Peer(_unique("a"), _unique("b")), *(Take(), Settle(completed(a)))),
    "settle a deduplicated job with a time": (Peer(_unique("a", ttl=MINUTE)), Take(), Settle(completed(a))),
    "fail a deduplicated job": (Peer(_unique("a")), Take(), Settle(failed(a))),
    "retry a deduplicated job": (Peer(_unique("a")), Take(), Settle(retry(a))),
    "settle a deduplicated job that another follows": (
        Peer(_unique("a", keepLastIfActive=True)),
        Take(),
        Peer(_unique("b", keepLastIfActive=True)),
        Settle(completed(a)),
        Take(),
    ),
    "settle a deduplicated job that a delayed one follows": (
        Peer(_unique("a", keepLastIfActive=True)),
        Take(),
        Peer(Job("event-b", delay=MINUTE, opts={"de": {"id": "one", "keepLastIfActive": True}})),
        Settle(completed(a)),
    ),
    "settle a deduplicated job that an urgent one follows": (
        Peer(_unique("a", keepLastIfActive=True)),
        Take(),
        Peer(Job("event-b", priority=7, opts={"de": {"id": "one", "keepLastIfActive": True}})),
        Settle(failed(a)),
    ),
    "complete one child of two": (Flow(FIRST, PARENT, _child("a"), _child("b")), Take(1), Settle(completed(a))),
    "complete all children": (Flow(FIRST, PARENT, _child("a"), _child("b")), *TWO_DONE),
    "complete all children of an urgent parent": (
        Flow(FIRST, Job("parent", priority=5), _child("a"), _child("b")),
        *TWO_DONE,
    ),
    "complete all children of a delayed parent": (
        Flow(FIRST, Job("parent", delay=MINUTE), _child("a"), _child("b")),
        *TWO_DONE,
    ),
    # How many fields a job has says whether it is anybody's child; that must be asked when it ends.
    "complete a job that became a child while it ran": (
        Add(A),
        Take(),
        Flow(FIRST, PARENT, _child("a")),
        Settle(completed(a)),
    ),
    "complete a job of a named worker that became a child while it ran": (
        Add(A),
        Take(worker="worker-1"),
        Flow(FIRST, PARENT, _child("a")),
        Settle(completed(a)),
    ),
    "complete children and keep none": (
        Flow(FIRST, PARENT, _child("a"), _child("b")),
        Take(2),
        Settle(completed(a, count=0), completed(b, count=0)),
    ),
    "complete a child of the same queue": (
        Flow("broker", PARENT, Job("event-a", parent=("broker", "parent"))),
        Take(),
        Settle(completed(a)),
        Take(),
        Settle(completed("parent")),
    ),
    "complete a child of the same queue and take its parent": (
        Flow("broker", PARENT, Job("event-a", parent=("broker", "parent"))),
        Take(),
        Settle(completed(a), fetch=True),
    ),
    "complete a child of the same queue and take its urgent parent": (
        Flow("broker", Job("parent", priority=5), Job("event-a", parent=("broker", "parent"))),
        Take(),
        Settle(completed(a), fetch=True),
    ),
    "fail a child": (Flow(FIRST, PARENT, _child("a"), _child("b")), Take(1), Settle(failed(a))),
    "fail a child, and its parent": (Flow(FIRST, PARENT, _child("a", fpof=True), B), Take(1), Settle(failed(a))),
    "fail a child, and its delayed parent": (
        Flow(FIRST, PARENT, _child("a", fpof=True), _child("b", fpof=True)),
        Take(2),
        Settle(failed(a), failed(b)),
    ),
    # That it has failed is noted in its parent's hash too: only so it is found when the parent ends.
    "fail a child that was added while its parent ran": (
        Add(A),
        Take(1),
        Flow(FIRST, PARENT, Job("event-b", opts={"fpof": True}, parent=("broker", a))),
        Take(1),
        Settle(failed(b)),
    ),
    "fail a child, its parent goes on": (
        Flow(FIRST, PARENT, _child("a", cpof=True), _child("b", cpof=True)),
        Take(1),
        Settle(failed(a)),
    ),
    "fail a child that its parent ignores": (Flow(FIRST, PARENT, _child("a", idof=True)), Take(), Settle(failed(a))),
    "fail a child that its parent forgets": (
        Flow(FIRST, PARENT, _child("a", rdof=True), _child("b", rdof=True)),
        Take(2),
        Settle(failed(a), completed(b)),
    ),
    "fail a child and keep none": (Flow(FIRST, PARENT, _child("a")), Take(), Settle(failed(a, count=0))),
    "a failed child is dropped": (
        Flow(FIRST, PARENT, _child("a")),
        Add(B),
        Take(2),
        Settle(failed(a, count=1)),
        Settle(failed(b, count=1)),
    ),
    "retry a child": (Flow(FIRST, PARENT, _child("a")), Take(), Settle(retry(a)), Take(), Settle(completed(a))),
    # redrive and discard
    "redrive": (Add(A, B, C), Take(3), Settle(failed(a), failed(b), failed(c)), Redrive(a, b), Redrive(c), Take(3)),
    "redrive behind those that wait": (Add(A), Take(), Settle(failed(a)), Add(B), Redrive(a), Take(2)),
    "redrive what is first in, first out": (
        Add(Job("event-a", lifo=True), B),
        Take(),
        Settle(failed(a)),
        Redrive(a),
        Take(),
    ),
    "redrive what is urgent": (
        Add(Job("event-a", priority=3), Job("event-b", priority=3)),
        Take(2),
        Settle(failed(a), failed(b)),
        Add(Job("event-c", priority=3)),
        Redrive(a, b),
        Take(3),
    ),
    "redrive into a paused queue": (Add(A), Take(), Settle(failed(a)), PAUSE, Redrive(a)),
    "redrive into a queue that is full": (
        Add(A, B),
        Take(2),
        Settle(failed(a)),
        Command("HSET", "meta", "concurrency", 1),
        Redrive(a),
    ),
    "redrive after retries, and fail again": (
        Add(A),
        Take(),
        Settle(retry(a)),
        Take(),
        Settle(failed(a)),
        Redrive(a),
        Take(),
        Settle(failed(a, "again")),
        Redrive(a),
        Take(),
        Settle(completed(a)),
    ),
    "redrive a child": (Flow(FIRST, PARENT, _child("a"), B), Take(1), Settle(failed(a)), Redrive(a)),
    "redrive a child that its parent waits for": (
        Flow(FIRST, PARENT, _child("a", fpof=True), _child("b")),
        Take(1),
        Settle(failed(a)),
        Redrive(a),
    ),
    "redrive a child that its parent goes on without": (
        Flow(FIRST, PARENT, _child("a", idof=True), _child("b")),
        Take(1),
        Settle(failed(a)),
        Redrive(a),
        Take(2),
    ),
    "redrive a child whose parent is gone": (
        Flow("broker", PARENT, Job("event-a", opts={"fpof": True}, parent=("broker", "parent"))),
        Take(1),
        Settle(failed(a)),
        Command("DEL", "parent"),
        Redrive(a),
    ),
    "discard": (Add(A, B, C), Take(3), Settle(failed(a), failed(b), failed(c)), Discard(b), Discard(a, c)),
    "discard what has a log": (
        Add(A),
        Take(),
        Settle(failed(a)),
        Command("RPUSH", f"{a}:logs", "a line"),
        Discard(a),
    ),
    "discard what others wait behind": (
        Peer(Job("event-a", opts={"de": {"id": "one"}})),
        Take(),
        Settle(failed(a)),
        Command("SET", "de:one", a),
        Discard(a),
    ),
    "discard what somebody else has replaced": (
        Peer(Job("event-a", opts={"de": {"id": "one"}})),
        Take(),
        Settle(failed(a)),
        Command("SET", "de:one", b),
        Discard(a),
    ),
    "discard a child": (Flow(FIRST, PARENT, _child("a"), _child("b")), Take(1), Settle(failed(a)), Discard(a)),
    "discard the last child": (Flow(FIRST, PARENT, _child("a")), Take(1), Settle(failed(a)), Discard(a)),
    # deliver
    "deliver": (Add(A), Take(), Deliver(a, to=(FIRST,))),
    "deliver several to several": (Add(A, B, C), Take(3), Deliver(a, b, c, to=(FIRST, SECOND))),
    "deliver while one more is active": (Add(A, B), Take(2), Deliver(a, to=(FIRST,))),
}
