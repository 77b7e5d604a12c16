"""Text of somebody else's, as a terminal may have it: names, reasons and data that stand in a queue."""

from __future__ import annotations

import re

from rich.markup import escape

__all__ = ["harmless", "in_line", "shown"]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def harmless(text: str) -> str:
    """The text with nothing in it that a terminal would obey; lines and tabs stay."""
    return _CONTROL.sub("�", text)


def in_line(text: str) -> str:
    """The text in one line."""
    return harmless(" ".join(text.split()))


def shown(text: str) -> str:
    """The text without control characters, and as rich's markup that shows just this text."""
    return escape(harmless(text))
