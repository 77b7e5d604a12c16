"""The map of foreign errors: complete, and right where it matters."""

from __future__ import annotations

import asyncio
import inspect
import socket
import ssl

import pytest
import redis.asyncio.sentinel
import redis.exceptions

from hippo_messenger import errors
from hippo_messenger.queues.failures import FOREIGN_ERRORS, as_redis_error, mapped_errors


def client_library_errors() -> list[type[Exception]]:
    """Every exception class that the client library declares."""
    modules = (redis.exceptions, redis.asyncio.sentinel)
    found = {
        member
        for module in modules
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Exception) and member.__module__.startswith("redis")
    }
    return sorted(found, key=lambda kind: kind.__name__)


def an_example(kind: type[Exception]) -> Exception:
    if issubclass(kind, redis.exceptions.AskError):
        return kind("1 127.0.0.1:7000")
    return kind("words")


@pytest.mark.parametrize("kind", client_library_errors(), ids=lambda kind: kind.__name__)
def test_no_error_of_the_client_library_gets_through(kind: type[Exception]) -> None:
    with pytest.raises(errors.RedisError) as caught, mapped_errors(maybe_executed=True):
        raise an_example(kind)
    assert type(caught.value) is not errors.RedisError
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        (redis.exceptions.ConnectionError("refused"), errors.RedisUnavailableError),
        (redis.exceptions.TimeoutError("slow"), errors.RedisTimeoutError),
        (TimeoutError(), errors.RedisTimeoutError),
        (ConnectionResetError(104, "reset"), errors.RedisUnavailableError),
        (socket.gaierror(-2, "unknown"), errors.RedisUnavailableError),
        (ssl.SSLError(1, "no TLS"), errors.RedisUnavailableError),
        (asyncio.IncompleteReadError(b"", 1), errors.RedisUnavailableError),
        (redis.asyncio.sentinel.MasterNotFoundError("none"), errors.RedisUnavailableError),
        (redis.exceptions.BusyLoadingError("loading"), errors.RedisLoadingError),
        (redis.exceptions.AuthenticationError("wrong"), errors.RedisAuthenticationError),
        (redis.exceptions.NoPermissionError("no"), errors.RedisPermissionError),
        (redis.exceptions.ReadOnlyError("no"), errors.RedisReadOnlyError),
        (redis.exceptions.OutOfMemoryError("no"), errors.RedisOutOfMemoryError),
        (redis.exceptions.ResponseError("MISCONF can't save"), errors.RedisReadOnlyError),
        (redis.exceptions.ResponseError("NOREPLICAS not enough"), errors.RedisReadOnlyError),
        (redis.exceptions.ResponseError("WRONGTYPE Operation against"), errors.QueueCorruptedError),
        (redis.exceptions.ResponseError("BUSY Redis is busy"), errors.RedisLoadingError),
        (redis.exceptions.ResponseError("ERR unknown command"), errors.RedisCommandError),
        (
            redis.exceptions.ResponseError("Error running script (call to f_1): @user_script:3: -OOM not allowed"),
            errors.RedisOutOfMemoryError,
        ),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else f"{type(value).__name__} {value}"[:40],
)
def test_each_failure_has_its_error(foreign: Exception, ours: type[errors.RedisError]) -> None:
    assert isinstance(foreign, FOREIGN_ERRORS)
    assert type(as_redis_error(foreign, maybe_executed=False)) is ours


def test_only_a_missing_reply_leaves_open_whether_the_command_worked() -> None:
    for foreign in (redis.exceptions.ConnectionError("x"), TimeoutError(), EOFError()):
        assert as_redis_error(foreign, maybe_executed=True).maybe_executed
        assert not as_redis_error(foreign, maybe_executed=False).maybe_executed
    for reply in (redis.exceptions.ResponseError("ERR x"), redis.exceptions.BusyLoadingError("x")):
        assert not as_redis_error(reply, maybe_executed=True).maybe_executed


def test_every_message_says_what_to_do() -> None:
    for kind in client_library_errors():
        assert "; " in str(as_redis_error(an_example(kind), maybe_executed=False))
