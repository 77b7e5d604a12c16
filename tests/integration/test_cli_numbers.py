"""Numbers that are none are refused where they are named, and by the programming interface."""

from __future__ import annotations

from collections.abc import AsyncIterator
from math import inf, nan
from pathlib import Path

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoService
from hippo_messenger.errors import ConfigurationError
from hippo_messenger.queues.dead_letters import Selection
from hippo_messenger.queues.redrive import RedrivePlan
from tests.contract.bus import Bus
from tests.integration.commands import Operator


@pytest.fixture
async def hippo(bus: Bus, tmp_path: Path) -> AsyncIterator[Operator]:
    operator = Operator(bus, tmp_path)
    yield operator
    await operator.close()


@pytest.mark.parametrize(
    "words",
    [
        ("failed", "redrive", "account", "--all", "--rate", "inf"),
        ("failed", "redrive", "account", "--all", "--rate", "nan"),
        ("unregister", "account", "--drain", "--force", "--timeout", "nan"),
        ("unregister", "account", "--drain", "--force", "--timeout", "inf"),
        ("status", "--watch", "nan"),
        ("status", "--watch", "inf"),
    ],
)
async def test_an_option_takes_no_number_that_is_none(hippo: Operator, words: tuple[str, ...]) -> None:
    said = await hippo.run(*words, code=2, lines=1)
    assert f"Invalid value for '{words[-2]}'" in said
    assert words[-1] == "nan" or "expected a finite number, got inf" in said


@pytest.mark.parametrize("rate", [inf, nan, 0, -1])
def test_a_redrive_has_a_rate_that_is_one(rate: float) -> None:
    with pytest.raises(ConfigurationError, match="expected a rate of more than 0 a second"):
        RedrivePlan(Selection(), rate=rate)


@pytest.mark.parametrize("timeout", [inf, nan, -1])
async def test_unregistering_waits_for_a_time_that_is_one(bus: Bus, timeout: float) -> None:
    with pytest.raises(ConfigurationError, match="expected a timeout of 0 or more seconds"):
        await bus.messenger(HippoService.ACCOUNT).unregister(jobs="drain", timeout=timeout)
