"""Rules about what nothing serves: a lab that relies on it is refused.

Belongs here: keys whose owner would believe in a lock, a copy or a secret that is not there. What is only a wish is a
warning of `homelab check` (lab/served.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from homelab_platform.errors import Problem
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.served import unserved


def relied_on_without_effect(ctx: RuleContext) -> Iterable[Problem]:
    """A second factor that nobody asks for is worse than none: its owner stops looking."""
    return unserved(ctx.positions, dangerous=True)


RULES = (relied_on_without_effect,)
