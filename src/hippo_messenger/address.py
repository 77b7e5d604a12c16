"""Where something stands in Python code, as `module:attribute`: pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Self

__all__ = ["Address"]


@dataclass(frozen=True, slots=True)
class Address:
    """A module, as in an import, and a name in it."""

    module: str
    attribute: str

    @classmethod
    def of(cls, text: str, *, form: str) -> Self:
        """The address that a user has written.

        Args:
            text: Such as `shop.events:CATALOGUE`.
            form: What is expected, in words, such as `a catalogue as "module:attribute"`.

        Raises:
            ValueError: It is none, or the path of a file; the message says what to write instead.
        """
        module, _, attribute = text.partition(":")
        if not module or not attribute:
            raise ValueError(f"expected {form}, got {text!r}")
        if "/" in module or module.startswith(".") or module.endswith(".py"):
            raise ValueError(
                f"expected {form}, with the module as in an import, got {text!r}{_hint(module, attribute)}"
            )
        return cls(module, attribute)


def _hint(path: str, attribute: str) -> str:
    """What to write instead of the path of a file, where a module can have such a name."""
    file = PurePath(path.removesuffix(".py"))
    is_here = not file.is_absolute() and ".." not in file.parts
    parts = [part.removeprefix(".") for part in (file.parts if is_here else (file.name,))]
    if not parts or not all(part.isidentifier() for part in parts):
        return ""
    return f"; write {'.'.join(parts)}:{attribute}" + ("" if is_here else f", in {file.parent}")
