"""Lua scripts: one file each, put together from the pieces that they include."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files

__all__ = ["Script", "load_script"]

_INCLUDE = re.compile(r"^--@include (\w+)$", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """The text of one script, ready for EVAL."""

    name: str
    text: str

    @cached_property
    def sha(self) -> str:
        """What EVALSHA calls it by."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


@cache
def load_script(name: str) -> Script:
    """The script `scripts/<name>.lua` with every `--@include` line replaced by that piece."""
    scripts = files("hippo_messenger.queues") / "scripts"

    def piece(match: re.Match[str]) -> str:
        return (scripts / "include" / f"{match[1]}.lua").read_text()

    return Script(name, _INCLUDE.sub(piece, (scripts / f"{name}.lua").read_text()))
