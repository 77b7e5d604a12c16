"""The package's log, `hippo_messenger`: whatever stands in a message can be written to any file."""

from __future__ import annotations

import logging

log = logging.getLogger("hippo_messenger")


def _as_writable_text(record: logging.LogRecord) -> bool:
    """Ids, names and reasons come from elsewhere, and a handler that writes UTF-8 fails at half of a surrogate pair."""
    message = record.getMessage()
    writable = message.encode(errors="backslashreplace").decode()
    if writable != message:
        record.msg, record.args = writable, ()
    return True


log.addFilter(_as_writable_text)
