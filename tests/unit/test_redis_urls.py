"""What is no URL of a Redis is refused, and nothing of it is shown that may be a password."""

from __future__ import annotations

import pytest

from hippo_messenger.errors import ConfigurationError
from hippo_messenger.queues.connection import Connection
from hippo_messenger.settings import Settings

SECRET = "a-very-secret-password"


@pytest.mark.parametrize(
    "url", ["localhost:6379", "http://x", "redis+sentinel://host", "redis://h:port", f"amqp://u:{SECRET}@host", ""]
)
def test_what_is_no_redis_url_is_refused_with_the_forms_there_are(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"expected a Redis URL.*redis://host:6379/0.*embedded") as caught:
        Connection.of(url, settings=Settings())
    assert SECRET not in str(caught.value)


CUTTING = ("/", "#", "?", "[", "]", "[x]", "\N{FULLWIDTH QUESTION MARK}", "\N{FULLWIDTH COLON}")
"""What must not stand in a login as it is: it ends it there, or makes a URL that can't be read."""
URLS_WITH_LOGIN = (
    "redis://{}@host:6379/1",
    "rediss://{}@host",
    "redis+sentinel://{}@host:26379,other:26379/primary/0",
    "redis+cluster://{}@host:6379",
)


@pytest.mark.parametrize("character", CUTTING)
@pytest.mark.parametrize("login", ["{}", "{}:x", ":{}", "user:{}", "user:x@{}"])
@pytest.mark.parametrize("url", URLS_WITH_LOGIN)
def test_no_part_of_a_password_reaches_the_error_of_a_url_that_cannot_be_read(
    url: str, login: str, character: str
) -> None:
    """Guards against errors of the URL parsers, which quote what they can't read."""
    parts = ("Zk3begin", "Zk3end")
    with pytest.raises(ConfigurationError, match=r"expected a Redis URL, got redi.*://….*percent-encoded") as caught:
        Connection.of(url.format(login.format(character.join(parts))), settings=Settings())
    assert not any(part.lower() in str(caught.value).lower() for part in parts)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("character", ["/", "#", "?"])
@pytest.mark.parametrize("url", URLS_WITH_LOGIN)
def test_digits_of_a_password_are_not_taken_for_a_port(url: str, character: str) -> None:
    with pytest.raises(ConfigurationError, match="expected a Redis URL"):
        Connection.of(url.format(f"user:4711{character}rest"), settings=Settings())


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("redis://host?ssl_ca_certs=/x", "rediss://"),
        ("unix:///x.sock?ssl_ca_certs=/x", "rediss://"),
        ("rediss+sentinel://host/primary?ssl_ca_certs=/x", "sentinel_username"),
        ("rediss+cluster://host?ssl_ca_certs=/x", "give a client"),
    ],
)
def test_parameters_without_effect_are_refused(url: str, hint: str) -> None:
    """Guards against a certificate authority that was asked for and is not used."""
    with pytest.raises(ConfigurationError, match=hint):
        Connection.of(url, settings=Settings())


@pytest.mark.parametrize("text", ["default:Zk3secret@host", ":Zk3secret@host", "user:Zk3://secret@host"])
def test_what_stands_before_a_colon_is_not_shown_where_it_is_no_scheme(text: str) -> None:
    with pytest.raises(ConfigurationError, match="something without a scheme") as caught:
        Connection.of(text, settings=Settings())
    assert "Zk3" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://host/abc",
        "redis://host/1/2",
        "redis://host/-1",
        "redis+sentinel://host/primary/abc",
        "redis+cluster://host/3",
        "redis+cluster://host/abc",
    ],
)
def test_what_is_no_database_is_refused_and_not_taken_for_database_0(url: str) -> None:
    with pytest.raises(ConfigurationError, match="database"):
        Connection.of(url, settings=Settings())
