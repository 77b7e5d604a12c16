"""How many random cases the tests try: few and always the same, or, where HIPPO_TEST_EXAMPLES asks, many new ones."""

from __future__ import annotations

import os

__all__ = ["FACTOR", "IS_THOROUGH"]

FACTOR = int(os.environ.get("HIPPO_TEST_EXAMPLES", "1"))
IS_THOROUGH = FACTOR > 1
