"""The kinds of site: one enum, and a wrong word is an error wherever it stands."""

from __future__ import annotations

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.plan.sites import CAPABILITIES, SiteKind, kind_here


def test_a_process_is_told_its_kind_and_is_small_where_nobody_told_it() -> None:
    assert kind_here({}) is SiteKind.SMALL
    assert kind_here({"HOMELAB_PROFILE": "cluster"}) is SiteKind.CLUSTER


def test_a_misspelt_kind_in_the_environment_is_an_error_that_lists_the_kinds() -> None:
    with pytest.raises(HomelabError, match=r"HOMELAB_PROFILE: no such kind of site: 'ful'") as error:
        kind_here({"HOMELAB_PROFILE": "ful"})
    assert "There are: small, full, lab, cluster." in str(error.value)


def test_every_kind_says_what_it_reaches() -> None:
    assert set(CAPABILITIES) == set(SiteKind)
    assert all(reached.name == kind for kind, reached in CAPABILITIES.items())
