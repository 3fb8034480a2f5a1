"""Does `factory run`, killed just after each event of each step, end with the next run as if it had not been?"""

from __future__ import annotations

import pytest

from tests.governor.killing import Clean, Factory, killed_everywhere


@pytest.mark.longest
def test_killed_after_every_event_of_every_step(factory: Factory, clean: Clean) -> None:
    killed_everywhere(factory, clean, "after")
