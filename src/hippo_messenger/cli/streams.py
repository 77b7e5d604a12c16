"""The streams that a command is given: closed ones, full ones, and ones that nobody reads any more."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TextIO

from hippo_messenger.cli.output import complain
from hippo_messenger.errors import ConfigurationError

__all__ = ["complain_of", "open_streams", "read_stdin", "write_out"]


def open_streams() -> None:
    """Put an empty stream where one is closed (`<&-`), for which Python has None."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - for as long as we run


def read_stdin() -> str:
    """All that comes on stdin, which is UTF-8 whatever the locale says.

    Raises:
        ConfigurationError: It is not, or can't be read.
    """
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"expected UTF-8 on stdin, got {error.object[error.start : error.end]!r}") from None
    except OSError as error:
        raise ConfigurationError(f"stdin can't be read: {error.strerror}") from None


def write_out() -> OSError | None:
    """Write what was printed and is still held back; why that can't be done, or None.

    Python would try it by itself at the end, and fail with an exit code and with words of its own.
    """
    fault = _flush(sys.stdout)
    _flush(sys.stderr)
    return fault


def _flush(stream: TextIO) -> OSError | None:
    """Why a stream can't be written; what it holds back is given up then."""
    try:
        stream.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None


def complain_of(error: OSError) -> None:
    """Say in a line which file or stream can't be used, and why; nothing where it is a reader who has had enough."""
    if not isinstance(error, BrokenPipeError):
        complain(f"{error.filename or 'the output'} can't be used: {error.strerror}")
