"""The feed: an NDJSON file with one event a line, and the service that sends it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hippo_messenger.catalogue.catalogue import Catalogue
from hippo_messenger.catalogue.model import EventType, Service
from hippo_messenger.errors import ConfigurationError, UnknownEventTypeError, UnknownServiceError

__all__ = ["FeedLine", "read_feed", "shipped_feed"]


@dataclass(frozen=True, slots=True)
class FeedLine:
    """One event to send."""

    number: int
    sender: Service
    event_type: EventType
    event_id: str | None
    data: dict[str, Any]
    """Right or wrong: that is found out by sending it."""


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sender: str = Field(alias="from")
    type: str
    id: str | None = None
    data: dict[str, Any]


def shipped_feed() -> Path:
    """The feed that comes with the package; scripts/make_shop_events.py in its repository makes it."""
    return Path(str(files("hippo_messenger.demo") / "shop_events.ndjson"))


def read_feed(path: Path, *, catalogue: Catalogue, limit: int | None = None) -> list[FeedLine]:
    """The first lines of a feed, or all of them, in the words of a catalogue; empty lines are skipped.

    Raises:
        ConfigurationError: The file can't be read, or a line is none; the message says which and why.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            parsed = (_parsed(path, number, line, catalogue) for number, line in enumerate(lines, 1) if line.strip())
            return list(islice(parsed, limit))
    except OSError as error:
        raise ConfigurationError(f"expected a file of events at {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"expected UTF-8 in {path}: {error}") from None


def _parsed(path: Path, number: int, line: str, catalogue: Catalogue) -> FeedLine:
    try:
        parsed = _Line.model_validate_json(line)
        sender = catalogue.service(parsed.sender.lower())
        event_type = catalogue.event_type(parsed.type.upper())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the line"
        raise ConfigurationError(
            f"{path}, line {number}: {where}: {first['msg']}; expected "
            '{"from": "order", "type": "ORDER_SUCCESS", "data": {…}} and if need be "id"'
        ) from None
    except (UnknownServiceError, UnknownEventTypeError) as error:
        raise ConfigurationError(f"{path}, line {number}: {error}") from None
    return FeedLine(number, sender, event_type, parsed.id, parsed.data)
