"""Dead letters as lines of JSON: all of each, exactly, and back again. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hippo_messenger.errors import DeadLetterError
from hippo_messenger.queues.layout import QueueKeys
from hippo_messenger.queues.letter import Letter, LetterId

__all__ = ["LetterArchive"]


class _Line(BaseModel):
    """One dead letter. Bytes that are no UTF-8 stand in it as Python's `surrogateescape` has them."""

    model_config = ConfigDict(extra="forbid", strict=True)

    queue: str = Field(min_length=1)
    id: str = Field(min_length=1)
    failed_on: str = Field(alias="failedOn", pattern=r"^\d{1,15}(\.\d{1,6})?$")
    rejected: bool = False
    fields: dict[str, str] = Field(min_length=1)
    logs: list[str] = []


class LetterArchive:
    """Writes and reads the dead letters of one queue."""

    def __init__(self, keys: QueueKeys) -> None:
        self._keys = keys

    def to_lines(self, letters: Iterable[Letter]) -> Iterator[str]:
        """Lines with their ends; a letter of which nothing is left but its id has none."""
        return (self.to_line(letter) + "\n" for letter in letters if letter.fields)

    def to_line(self, letter: Letter) -> str:
        """One dead letter, with all its fields and logs, as one line without its end."""
        members: dict[str, object] = {"queue": self._keys.queue, "id": letter.id, "failedOn": letter.where.score}
        if letter.where.is_rejected:
            members["rejected"] = True
        members["fields"] = {name: _text(value) for name, value in letter.fields.items()}
        if letter.logs:
            members["logs"] = [_text(line) for line in letter.logs]
        return json.dumps(members, separators=(",", ":"))

    def from_line(self, text: str | bytes) -> Letter:
        """What `to_line` wrote.

        Raises:
            DeadLetterError: It is something else, or of another queue.
        """
        try:
            members = json.loads(text)  # pydantic's own parser takes no halves of surrogate pairs
            line = _Line.model_validate(members)
            fields = {name: _bytes(value) for name, value in line.fields.items()}
            logs = tuple(_bytes(one) for one in line.logs)
            where = LetterId(line.id, line.failed_on, line.rejected)
            where.key  # noqa: B018 - an id that can't be written raises here
            for name in line.fields:
                _bytes(name)
        except ValidationError as error:
            raise DeadLetterError(f"expected an exported dead letter; {_reasons(error)}") from None
        except UnicodeEncodeError as error:
            raise DeadLetterError(f"expected text that has bytes, got {error.object[error.start]!r}") from None
        except (ValueError, RecursionError) as error:
            raise DeadLetterError(f"expected an exported dead letter as JSON: {error}") from None
        if line.queue != self._keys.queue:
            raise DeadLetterError(f"expected a dead letter of {self._keys.queue}, got one of {line.queue[:80]!r}")
        if self._keys.job(line.id) in self._keys.all:
            raise DeadLetterError(f"expected the id of a job, got {line.id!r}, which is a key of the queue itself")
        return Letter(where, fields, logs)


def _text(value: bytes) -> str:
    return value.decode(errors="surrogateescape")


def _bytes(value: str) -> bytes:
    return value.encode(errors="surrogateescape")


def _reasons(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in reason['loc']) or 'the whole'}: {reason['msg']}"
        for reason in error.errors(include_input=False, include_url=False)[:5]
    )
