"""New data for a dead letter: validated, with the secrets that its editor never saw put back. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from hippo_messenger.catalogue.model import MASK, masked, read_data, to_wire
from hippo_messenger.envelope import check_event_id, decode, encode
from hippo_messenger.errors import (
    DeadLetterError,
    EventTooLargeError,
    EventValidationError,
    FieldError,
    InvalidEnvelopeError,
    InvalidEventIdError,
)
from hippo_messenger.queues.letter import Letter
from hippo_messenger.queues.letter_check import LetterCheck

__all__ = ["LetterEdit"]

_PROBE = "\0probe"
_REJECTED_OPTIONS = '{"attempts":1}'

Path = tuple[str | int, ...]


class LetterEdit:
    """Makes the data of one dead letter anew; nothing of it changes but the event's own data."""

    def __init__(self, letter: Letter, check: LetterCheck) -> None:
        """Raises:
        UnknownEventTypeError: The catalogue doesn't have its event type, so nobody could validate new data.
        DeadLetterError: It is no event, or too little of one.
        """
        self._letter = letter
        self._check = check
        self._model = check.catalogue.model(check.catalogue.event_type(letter.name))
        self._wire = _wire_of(letter)
        self._original = self._wire.get("data")

    @property
    def data_to_edit(self) -> str:
        """The present data as JSON to be edited, secrets masked: a mask that stays means the secret stays."""
        return json.dumps(masked(self._model, self._original), indent=2, ensure_ascii=False)

    @property
    def options(self) -> str:
        """The job's new options, or nothing where they stay."""
        return _REJECTED_OPTIONS if self._letter.where.is_rejected else ""

    def edited(self, data: object) -> bytes:
        """The job's new data: its envelope around this event data.

        Raises:
            EventValidationError: The data doesn't fit; every field that is wrong is named.
            EventTooLargeError: It is too large.
        """
        try:
            if isinstance(data, Mapping):
                data = self._with_secrets(data)
        except RecursionError:
            deep = FieldError("data", "objects that are less deep", "")
            raise EventValidationError(self._model.event_type, [deep]) from None
        return self._fitting(self._enveloped(to_wire(read_data(self._model, data))))

    def _with_secrets(self, data: Mapping[str, object]) -> object:
        """The data with the masks that stand where secrets belong replaced by the original's."""
        restored: object = json.loads(json.dumps(data))
        was, is_now = masked(self._model, self._original), masked(self._model, restored)
        missing = []
        for path in _masks(masked(self._model, _probed(restored)), _probed(restored)):
            secret = _value_at(self._original, path)
            if secret is None or secret == MASK:
                missing.append(_missing_secret(path, "the original is not kept"))
            elif _outermost_list(was, path) != _outermost_list(is_now, path):
                missing.append(_missing_secret(path, "its list has changed, and nobody can say whose it was"))
            else:
                _put(restored, path, secret)
        if missing:
            raise EventValidationError(self._model.event_type, missing)
        return restored

    def _enveloped(self, data: bytes) -> bytes:
        source, event_type = str(self._wire["source"]), self._letter.name
        try:
            envelope = decode(self._letter.data)
        except InvalidEnvelopeError:
            event_id = _usable_id(self._wire.get("id"), self._letter.id)
            return encode(event_id=event_id, source=source, event_type=event_type, data=data)
        return encode(
            event_id=envelope.id,
            source=envelope.source,
            event_type=event_type,
            data=data,
            time=envelope.time,
            extensions=envelope.extensions,
        )

    def _fitting(self, raw: bytes) -> bytes:
        if len(raw) > self._check.max_bytes:
            raise EventTooLargeError(f"expected an event of at most {self._check.max_bytes:,} bytes, got {len(raw):,}")
        return raw


def _wire_of(letter: Letter) -> Mapping[str, object]:
    """The members of an envelope, or of the record of a rejected event."""
    try:
        found = json.loads(letter.data)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict) and "shortened" in found:  # a record of which the end is missing
        found = _opening_of(str(found["shortened"]))
    if not isinstance(found, dict) or not isinstance(found.get("source"), str) or not found["source"]:
        raise DeadLetterError(
            f"expected an event that says who sent it, got a job whose data doesn't: {letter.id} can't be edited; send "
            "the event anew, and discard this"
        )
    return found


def _opening_of(text: str) -> object:
    """Source and type of a record that was cut within its data."""
    opening, _, _ = text.partition(',"data":')
    try:
        return json.loads(opening + "}")
    except ValueError:
        return None


def _usable_id(*candidates: object) -> str:
    for candidate in candidates:
        try:
            return check_event_id(str(candidate))
        except InvalidEventIdError:
            continue
    raise DeadLetterError(
        f"expected an id that an event can have, got {str(candidates[-1])[:80]!r}: send the event anew, and discard "
        "this"
    )


def _probed(value: object) -> object:
    """A copy in which what looks like a mask doesn't."""
    if isinstance(value, Mapping):
        return {name: _probed(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_probed(inner) for inner in value]
    return _PROBE if value == MASK else value


def _masks(value: object, probed: object, path: Path = ()) -> Iterator[Path]:
    """Where the data had a mask, and its model has a secret."""
    if probed == _PROBE and value == MASK:
        yield path
    elif isinstance(probed, Mapping) and isinstance(value, Mapping):
        for name, inner in probed.items():
            yield from _masks(value.get(name), inner, (*path, name))
    elif isinstance(probed, list) and isinstance(value, list):
        for place, inner in enumerate(probed):
            yield from _masks(value[place], inner, (*path, place))


def _value_at(value: object, path: Path) -> object:
    for part in path:
        if isinstance(value, Mapping):
            value = value.get(str(part))
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return None
    return value


def _outermost_list(value: object, path: Path) -> object:
    """The first list on the way: the elements of a list have no other name than their place, which an edit may move."""
    for length in range(len(path)):
        if isinstance(found := _value_at(value, path[:length]), list):
            return found
    return None


def _put(value: object, path: Path, secret: object) -> None:
    *way, last = path
    holder = _value_at(value, tuple(way))
    if isinstance(holder, dict):
        holder[str(last)] = secret
    elif isinstance(holder, list) and isinstance(last, int):
        holder[last] = secret


def _missing_secret(path: Path, why: str) -> FieldError:
    return FieldError(".".join(str(part) for part in path), f"the secret itself: {why}", MASK)
