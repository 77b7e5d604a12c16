"""Every failure of Redis, of its client library and of the network, as an error of ours; mapped nowhere else."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions as foreign

from hippo_messenger.errors import (
    QueueCorruptedError,
    RedisAuthenticationError,
    RedisCommandError,
    RedisError,
    RedisLoadingError,
    RedisOutOfMemoryError,
    RedisPermissionError,
    RedisReadOnlyError,
    RedisTimeoutError,
    RedisUnavailableError,
)

__all__ = ["FOREIGN_ERRORS", "as_redis_error", "mapped_errors", "says_read_only"]

FOREIGN_ERRORS = (
    foreign.RedisError,
    foreign.RedisClusterException,
    foreign.ChildDeadlockedError,
    foreign.IncorrectPolicyType,
    OSError,  # the network's, TLS' and the resolver's; TimeoutError is one too
    EOFError,
)
"""What talking to Redis can raise."""

_BY_CLASS: tuple[tuple[type[Exception], type[RedisError], str], ...] = (
    (foreign.AuthenticationError, RedisAuthenticationError, "check the user and the password of the connection"),
    (foreign.AuthenticationWrongNumberOfArgsError, RedisAuthenticationError, "this Redis knows no users: give none"),
    (foreign.AuthorizationError, RedisAuthenticationError, "check the user and the password of the connection"),
    (foreign.ExternalAuthProviderError, RedisAuthenticationError, "check the credential provider of the connection"),
    (foreign.NoPermissionError, RedisPermissionError, "grant it to this user (ACL SETUSER)"),
    (foreign.BusyLoadingError, RedisLoadingError, "wait until it is done"),
    (foreign.ReadOnlyError, RedisReadOnlyError, "connect to the primary"),
    (foreign.OutOfMemoryError, RedisOutOfMemoryError, "free memory or raise maxmemory"),
    (foreign.MasterDownError, RedisUnavailableError, "the replica has lost its primary"),
    (foreign.ClusterDownError, RedisUnavailableError, "the cluster doesn't serve all its slots"),
    (foreign.TryAgainError, RedisUnavailableError, "the cluster is moving the slot"),
    (foreign.SlotNotCoveredError, RedisUnavailableError, "the cluster doesn't serve all its slots"),
    (foreign.AskError, RedisCommandError, "this is a node of a Redis Cluster: connect with redis+cluster://"),
    (foreign.ClusterCrossSlotError, RedisCommandError, "give the prefix a hash tag, as in {hippo}"),
    (foreign.TimeoutError, RedisTimeoutError, "is it overloaded, or the network slow?"),
    (TimeoutError, RedisTimeoutError, "is it overloaded, or the network slow?"),
    (ssl.SSLError, RedisUnavailableError, "check that it speaks TLS, and its certificate"),
    (foreign.ConnectionError, RedisUnavailableError, "is it running, and the address right?"),
    (foreign.RedisClusterException, RedisUnavailableError, "is the cluster running, and the address right?"),
    (OSError, RedisUnavailableError, "is it running, and the address right?"),
    (EOFError, RedisUnavailableError, "it closed the connection"),
)
"""The first that fits counts."""

_BY_CODE: dict[str, tuple[type[RedisError], str]] = {
    "BUSY": (RedisLoadingError, "a script of somebody else keeps it busy"),
    "CLUSTERDOWN": (RedisUnavailableError, "the cluster doesn't serve all its slots"),
    "LOADING": (RedisLoadingError, "wait until it is done"),
    "MASTERDOWN": (RedisUnavailableError, "the replica has lost its primary"),
    "MISCONF": (RedisReadOnlyError, "it can't save to its disk: make room, then it takes writes again"),
    "NOAUTH": (RedisAuthenticationError, "check the user and the password of the connection"),
    "NOPERM": (RedisPermissionError, "grant it to this user (ACL SETUSER)"),
    "NOREPLICAS": (RedisReadOnlyError, "it wants more replicas before it takes writes (min-replicas-to-write)"),
    "OOM": (RedisOutOfMemoryError, "free memory or raise maxmemory"),
    "READONLY": (RedisReadOnlyError, "connect to the primary"),
    "WRONGTYPE": (QueueCorruptedError, "somebody else has written to the key; nothing was changed"),
}
_CODE = re.compile(rf"(?:^|: )-?({'|'.join(_BY_CODE)})\b")
"""At the start of an error reply, or after the words that Redis 6 puts before the error of a script."""


@contextmanager
def mapped_errors(*, maybe_executed: bool) -> Iterator[None]:
    """Raise foreign errors as ours; `maybe_executed` is noted on those after which no reply came."""
    try:
        yield
    except FOREIGN_ERRORS as error:
        raise as_redis_error(error, maybe_executed=maybe_executed) from error


def as_redis_error(error: Exception, *, maybe_executed: bool) -> RedisError:
    """The error of ours for one of the client library's; total over `FOREIGN_ERRORS`."""
    kind, remedy = _kind(error)
    words = str(error).strip().rstrip(".") or type(error).__name__
    if issubclass(kind, RedisTimeoutError):
        words = "no answer in time" if words == type(error).__name__ else words
    mapped = kind(f"Redis: {words}; {remedy}")
    mapped.maybe_executed = maybe_executed and _is_without_reply(error)
    return mapped


def says_read_only(error: Exception) -> bool:
    """Whether it is the reply of a server that takes no writes."""
    return isinstance(error, foreign.ResponseError) and issubclass(_kind(error)[0], RedisReadOnlyError)


def _kind(error: Exception) -> tuple[type[RedisError], str]:
    if isinstance(error, foreign.ResponseError) and (code := _CODE.search(str(error))):
        return _BY_CODE[code[1]]
    for foreign_class, kind, remedy in _BY_CLASS:
        if isinstance(error, foreign_class):
            return kind, remedy
    return RedisCommandError, "this is a defect of ours, or a server that is not what it says: please report it"


def _is_without_reply(error: Exception) -> bool:
    """Error replies say that the command did nothing; of anything else nobody can know."""
    if isinstance(error, foreign.ResponseError | foreign.BusyLoadingError | foreign.DataError):
        return False
    return not isinstance(error, foreign.AuthenticationError)
