"""What makes two dead letters the same failure: event type, error, and where in the service's own code. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import PurePath

__all__ = ["Fingerprint", "fingerprint_of"]

_UNFIT = re.compile(r"the data doesn't fit [^\s:]+: ([^\s:]+): (.+?)(?:, got |; |$)", re.DOTALL)
_PYTHON_FRAME = re.compile(r'File "([^"\n]+)", line \d+, in ([^\n]+)')
_PYTHON_ERROR = re.compile(r"^[ |]*([A-Za-z_][\w.]*)(?::|$)", re.MULTILINE)
_NODE_FRAME = re.compile(
    r"^\s+at (?:(?:async )?(\S.*?) \()?((?:file://|/|[A-Za-z]:\\)[^\n()]+?):\d+:\d+\)?$", re.MULTILINE
)
_NODE_ERROR = re.compile(r"^([A-Za-z_$][\w$.]*(?:Error|Exception)?)(?: \[[^\]\n]*\])?(?::|$)")
_REASON_CLASS = re.compile(r"^([A-Za-z_][\w.]*): ")
_TRACEBACK = "Traceback (most recent call last):"
_FOREIGN = ("site-packages", "dist-packages", "node_modules", "lib/python", "<frozen", "node:internal")
_OURS = re.compile(r"[/\\]hippo_messenger[/\\](?:processing|worker|broker|intake|job)\.py$")
_CHANGES = re.compile(r"'[^']*'|\"[^\"]*\"|[0-9a-f]{8}-[0-9a-f-]{27}|\d[\d,.]*")
"""What differs between two messages of one kind: what they quote, ids and numbers."""
_PLACES_KEPT = 2
_WORDS_LENGTH = 80


@dataclass(frozen=True)
class Fingerprint:
    """One kind of failure; two dead letters of equal fingerprints have most likely one cause."""

    event_type: str
    error: str
    """The class of the error, or the rule that the data breaks, or a reason without its names and numbers."""
    place: str
    """The first frame of the service's own code, or the path of the field; empty where there is none."""

    @cached_property
    def group(self) -> str:
        """A short name for it, the same at any time and place."""
        words = f"{self.event_type}\n{self.error}\n{self.place}"
        return blake2b(words.encode(errors="surrogateescape"), digest_size=4).hexdigest()


def fingerprint_of(event_type: str, reason: str, traces: Sequence[str]) -> Fingerprint:
    """The fingerprint of a failed job, by its name, its reason and its traces, of which the newest is the last."""
    unfit = _UNFIT.search(reason)
    if unfit:
        return Fingerprint(event_type, _without_changes(unfit[2]), re.sub(r"(^|\.)\d+(?=\.|$)", r"\1*", unfit[1]))
    trace = traces[-1] if traces else ""
    for error, frames in (_read_python(trace), _read_node(trace)):
        place = next(_own_places(frames), "")
        if error and place:
            return Fingerprint(event_type, error, place)
    named = _REASON_CLASS.match(reason)
    return Fingerprint(event_type, named[1] if named else _without_changes(reason), "")


def _read_python(trace: str) -> tuple[str, list[tuple[str, str]]]:
    """The class of the error and the frames, outermost first, of the last traceback in a trace."""
    last = trace.rpartition(_TRACEBACK)[2]
    frames = list(_PYTHON_FRAME.finditer(last))
    if not frames:
        return "", []
    # Below the last frame stands its source, deeper than any error's name.
    found = _PYTHON_ERROR.search(last, last.find("\n", frames[-1].end()) + 1)
    error = found[1].rpartition(".")[2] if found else ""
    return error, [(frame[1], frame[2].strip()) for frame in frames]


def _read_node(trace: str) -> tuple[str, list[tuple[str, str]]]:
    """The same of a trace as Node writes it, innermost first."""
    named = _NODE_ERROR.match(trace)
    frames = [(frame[2], frame[1] or "") for frame in _NODE_FRAME.finditer(trace)]
    return named[1] if named and frames else "", frames


def _own_places(frames: Sequence[tuple[str, str]]) -> Iterator[str]:
    """The frames that are the service's own code, as `folder/file.py:function`: a deploy moves lines, not names."""
    for file, function in frames:
        path = file.removeprefix("file://").replace("\\", "/")
        if not any(part in path for part in _FOREIGN) and not _OURS.search(path):
            yield "/".join(PurePath(path).parts[-_PLACES_KEPT:]).lstrip("/") + (f":{function}" if function else "")


def _without_changes(words: str) -> str:
    line = " ".join(_CHANGES.sub("…", words).split())
    return line if len(line) <= _WORDS_LENGTH else line[: _WORDS_LENGTH - 1] + "…"
