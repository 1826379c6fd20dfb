"""From the lab as written to the lab with every derived fact.

Belongs here: the order in which facts are derived; each family of facts has a module of its own.
"""

from __future__ import annotations

from homelab_platform.lab.catalogue import Catalogue
from homelab_platform.lab.load import LoadedLab
from homelab_platform.lab.resolved import ResolvedLab, ResolvedNetwork


def resolve(loaded: LoadedLab, catalog: Catalogue) -> ResolvedLab:
    """Derives every fact of the lab; raises HomelabError where a fact cannot be derived."""
    lab = loaded.lab
    network = ResolvedNetwork(domain=lab.domain)
    return ResolvedLab(
        version=lab.version, name=lab.lab, timezone=lab.timezone, source=loaded.path.name, network=network
    )
