"""One module per cross-field rule family; each rule is one function that yields Problems."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from homelab_platform.errors import Problem
from homelab_platform.lab.context import RuleContext

Rule = Callable[[RuleContext], Iterable[Problem]]

ALL_RULES: tuple[Rule, ...] = ()

__all__ = ["ALL_RULES", "Rule", "RuleContext"]
