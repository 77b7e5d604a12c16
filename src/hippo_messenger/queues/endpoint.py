"""Where Redis is, however it was said: the makers of lines and clients to it, with our own timeouts and no retries."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from hippo_messenger.errors import ConfigurationError
from hippo_messenger.queues.line import ClusterLine, Line, ServerLine

__all__ = ["Client", "Endpoint", "endpoint_of_client", "endpoint_of_url"]

Client = Redis | RedisCluster

_FORMS = (
    "redis://host:6379/0, rediss:// (TLS), unix:///path/to/socket?db=0, "
    "redis+sentinel://host:26379,host:26379/primary-name/0, redis+cluster://host:6379 or rediss+cluster://, each with "
    'user:password@ before the host where there is one; or "embedded"'
)
_HINT = "in a user or a password write / # ? [ ] @ : and % percent-encoded (%2F for /)"
_SCHEMES: Mapping[str, type[AbstractConnection]] = {
    "redis": Connection,
    "rediss": SSLConnection,
    "unix": UnixDomainSocketConnection,
}
_COPIED = frozenset({"host", "port", "path", "db", "username", "password", "credential_provider"})
"""What is taken over of a caller's client, beside all that begins with `ssl`; the rest is our own."""
_SENTINELS_OWN = ("sentinel_username", "sentinel_password")
_CLIENT_CONNECTIONS = 4
_CONNECT_TIME = 3.0
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 11_000}
"""A peer that is gone without a word is noticed after 5 + 3 × 2 s of silence, also by a connection that only waits."""


class Endpoint(Protocol):
    """One Redis: a server, what Sentinel says is the primary, or a cluster."""

    @property
    def description(self) -> str:
        """Where it is, without user and password."""
        ...

    def line(self, *, client_name: str | None) -> Line:
        """A new line to it."""
        ...

    def client(self, *, reply_timeout: float) -> Client:
        """A new client of the `redis` package that decodes replies, as the `bullmq` package wants it."""
        ...


class ServerEndpoint:
    """One server."""

    def __init__(self, kind: type[AbstractConnection], options: Mapping[str, Any]) -> None:
        self._kind = kind
        self._options = options

    @property
    def description(self) -> str:
        """See `Endpoint`."""
        options = self._options
        if "path" in options:
            return f"unix://{options['path']}" + (f"?db={options['db']}" if options.get("db") else "")
        scheme = "rediss" if issubclass(self._kind, SSLConnection) else "redis"
        return f"{scheme}://{_address(options.get('host', 'localhost'), options.get('port', 6379))}/{_db(options)}"

    def line(self, *, client_name: str | None) -> Line:
        """See `Endpoint`."""
        return ServerLine(ConnectionPool(connection_class=self._kind, **self._options, **self._ours(client_name)))

    def client(self, *, reply_timeout: float) -> Client:
        """See `Endpoint`."""
        return Redis.from_pool(
            BlockingConnectionPool(
                connection_class=self._kind,
                max_connections=_CLIENT_CONNECTIONS,
                timeout=reply_timeout,
                **self._options,
                **self._ours(None) | {"decode_responses": True, "socket_timeout": reply_timeout},
            )
        )

    def _ours(self, client_name: str | None) -> dict[str, Any]:
        ours = _ours(client_name)
        if issubclass(self._kind, UnixDomainSocketConnection):
            del ours["socket_keepalive"], ours["socket_keepalive_options"]
        return ours


class SentinelEndpoint:
    """The primary of one name, as Sentinel says."""

    def __init__(
        self, sentinels: list[tuple[str, int]], name: str, options: Mapping[str, Any], login: Mapping[str, Any]
    ) -> None:
        self._sentinels = sentinels
        self._name = name
        self._options = options
        self._login = login

    @property
    def description(self) -> str:
        """See `Endpoint`."""
        hosts = ",".join(_address(host, port) for host, port in self._sentinels)
        return f"redis+sentinel://{hosts}/{self._name}/{_db(self._options)}"

    def line(self, *, client_name: str | None) -> Line:
        """See `Endpoint`."""
        return ServerLine(self._pool(_ours(client_name)))

    def client(self, *, reply_timeout: float) -> Client:
        """See `Endpoint`."""
        ours = _ours(None) | {"decode_responses": True, "socket_timeout": reply_timeout}
        return Redis.from_pool(self._pool(ours))

    def _pool(self, ours: Mapping[str, Any]) -> ConnectionPool:
        asking = {**self._login, **_ours(None), "socket_timeout": _CONNECT_TIME}
        sentinel: Any = Sentinel(self._sentinels, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]
        return _SentinelPool(  # type: ignore[no-untyped-call]
            self._name, sentinel, **self._options, **ours
        )


class _SentinelPool(SentinelConnectionPool):
    """Closes its connections to Sentinel too."""

    async def aclose(self) -> None:
        await super().aclose()
        for sentinel in self.sentinel_manager.sentinels:
            await sentinel.aclose()


class ClusterEndpoint:
    """A Redis Cluster, known by some of its nodes."""

    def __init__(self, nodes: list[tuple[str, int]], options: Mapping[str, Any]) -> None:
        self._nodes = nodes
        self._options = options

    @property
    def description(self) -> str:
        """See `Endpoint`."""
        scheme = "rediss+cluster" if self._options.get("ssl") else "redis+cluster"
        return f"{scheme}://{','.join(_address(host, port) for host, port in self._nodes)}"

    def line(self, *, client_name: str | None) -> Line:
        """See `Endpoint`."""
        return ClusterLine(self._cluster(_ours(client_name)))

    def client(self, *, reply_timeout: float) -> Client:
        """See `Endpoint`."""
        return self._cluster(_ours(None) | {"decode_responses": True, "socket_timeout": reply_timeout})

    def _cluster(self, ours: Mapping[str, Any]) -> RedisCluster:
        return RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in self._nodes],
            **self._options,
            **ours,
        )


def endpoint_of_url(url: str) -> Endpoint:
    """The endpoint that a URL names.

    Raises:
        ConfigurationError: It is no such URL; the message shows nothing of it but its scheme.
    """
    try:
        return _read(url)
    except _UnreadableError as error:
        wrong = f": {error}" if error.args else ""
    except (ValueError, TypeError):  # such errors quote parts of the URL, which may be parts of a password
        wrong = ""
    raise ConfigurationError(f"expected a Redis URL, got {_shown(url)}{wrong}; {_HINT}; the forms are {_FORMS}")


class _UnreadableError(Exception):
    """What is wrong with a URL, without any part of it."""


def _read(url: str) -> Endpoint:
    parts = urlsplit(url)
    _check_whole(parts)
    if parts.scheme in _SCHEMES:
        if parts.scheme != "unix":
            _database(parts.path)
        if parts.scheme != "rediss":
            _check_parameters(parts, lambda name: not name.startswith("ssl"), "those of TLS go with rediss://")
        return ServerEndpoint(_SCHEMES[parts.scheme], _copied(dict(parse_url(url))))
    if parts.scheme in ("redis+sentinel", "rediss+sentinel"):
        _check_parameters(parts, _SENTINELS_OWN.__contains__, f"known here: {', '.join(_SENTINELS_OWN)}")
        return _sentinel(parts)
    if parts.scheme in ("redis+cluster", "rediss+cluster"):
        if _database(parts.path):
            raise _UnreadableError("a cluster has no other database than 0")
        _check_parameters(parts, lambda _: False, "a cluster takes none; give a client where it needs more")
        options = _login(parts) | ({"ssl": True} if parts.scheme.startswith("rediss") else {})
        return ClusterEndpoint(_hosts(parts, port=6379), options)
    raise _UnreadableError


def _check_parameters(parts: SplitResult, is_known: Callable[[str], bool], hint: str) -> None:
    """Refuse what would have no effect: a certificate authority that is not used, say."""
    unknown = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True) if not is_known(name)]
    if unknown:
        raise _UnreadableError(f"a parameter has no meaning here; {hint}")


def _check_whole(parts: SplitResult) -> None:
    """Refuse a URL whose login a character has cut in two; what is left before it would be taken for a host."""
    elsewhere = [
        text
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        for text in (name, "" if name.endswith(("username", "password")) else value)
    ]
    if parts.netloc and (parts.scheme != "unix" or "@" not in parts.netloc):
        elsewhere.append(parts.path)
    if parts.fragment or any("@" in text for text in elsewhere):
        raise _UnreadableError("an @ or a # stands where none belongs")


def endpoint_of_client(client: Client) -> Endpoint:
    """The endpoint that a caller's client is connected to; the client itself is neither used nor closed."""
    if isinstance(client, RedisCluster):
        nodes = [(str(node.host), int(node.port)) for node in client.startup_nodes]
        options = client.connection_kwargs
        secure = {"ssl": True} if issubclass(options.get("connection_class", Connection), SSLConnection) else {}
        return ClusterEndpoint(nodes, _without_place(_copied(options)) | secure)
    pool = client.connection_pool
    options = pool.connection_kwargs
    if isinstance(pool, SentinelConnectionPool):
        asked = [sentinel.connection_pool.connection_kwargs for sentinel in pool.sentinel_manager.sentinels]
        hosts = [(str(known["host"]), int(known["port"])) for known in asked]
        secure = {"ssl": True} if issubclass(pool.connection_class, SSLConnection) else {}
        return SentinelEndpoint(
            hosts, pool.service_name, _without_place(_copied(options)) | secure, _without_place(_copied(asked[0]))
        )
    return ServerEndpoint(pool.connection_class, _copied(options))


def _ours(client_name: str | None) -> dict[str, Any]:
    """Our own settings, whatever the caller's are.

    Replies have no time limit here: each call has one of its own. The client library would repeat scripts blindly.
    """
    return {
        "client_name": client_name,
        "decode_responses": False,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": _CONNECT_TIME,
        "socket_keepalive": True,
        "socket_keepalive_options": _keepalive(),
        "socket_timeout": None,
    }


def _keepalive() -> dict[int, int]:
    """The options that this platform has."""
    return {getattr(socket, name): value for name, value in _KEEPALIVE.items() if hasattr(socket, name)}


def _copied(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in options.items()
        if (name in _COPIED or name.startswith("ssl_")) and value is not None
    }


def _without_place(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in ("host", "port", "path")}


def _database(path: str) -> int:
    number = unquote(path).strip("/")
    if number and not (number.isascii() and number.isdecimal()):
        raise _UnreadableError("the database is no number")
    return int(number or 0)


def _sentinel(parts: SplitResult) -> SentinelEndpoint:
    name, _, path = parts.path.strip("/").partition("/")
    if not name:
        raise _UnreadableError("the name of the primary is missing after the hosts")
    db = _database(path)
    login = _login(parts)
    query = dict(parse_qsl(parts.query))
    asking = {
        "username": query.get("sentinel_username"),
        "password": query.get("sentinel_password"),
    }
    secure = {"ssl": True} if parts.scheme.startswith("rediss") else {}
    return SentinelEndpoint(
        _hosts(parts, port=26379), name, login | secure | ({"db": db} if db else {}), _copied(asking)
    )


def _login(parts: SplitResult) -> dict[str, Any]:
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    return _copied({"username": unquote(user) or None, "password": unquote(password) or None})


def _hosts(parts: SplitResult, *, port: int) -> list[tuple[str, int]]:
    hosts = []
    for place in parts.netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{place}")
        if not one.hostname:
            raise _UnreadableError("a host is missing")
        hosts.append((one.hostname, one.port or port))
    return hosts


def _address(host: object, port: object) -> str:
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def _db(options: Mapping[str, Any]) -> object:
    return options.get("db") or 0


def _shown(url: str) -> str:
    """The URL without what may be a password: in a URL that can't be read, nothing but its scheme is safe."""
    scheme, separator, _ = url.partition("://")
    is_scheme = bool(separator) and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme) is not None
    return f"{scheme}://…" if is_scheme else "something without a scheme such as redis://"
