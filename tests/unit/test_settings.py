"""The defaults, and the variables that override them."""

from __future__ import annotations

import pytest

from hippo_messenger.errors import ConfigurationError
from hippo_messenger.settings import Settings


def test_every_field_can_be_a_variable() -> None:
    settings = Settings.from_environment(
        {"HIPPO_PREFIX": "{shop}", "HIPPO_WORKER_LOCK": "2.5", "HIPPO_EVENTS_STREAM": "false", "OTHER": "x"}
    )

    assert (settings.prefix, settings.worker_lock, settings.events_stream) == ("{shop}", 2.5, False)


def test_no_variables_are_the_defaults() -> None:
    assert Settings.from_environment({}) == Settings()


@pytest.mark.parametrize(
    ("variable", "value"), [("HIPPO_WORKER_LOCK", "soon"), ("HIPPO_PREFIX", "a:b"), ("HIPPO_SEND_BATCH", "0")]
)
def test_a_wrong_variable_is_named(variable: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{variable}: .*{value}"):
        Settings.from_environment({variable: value})
