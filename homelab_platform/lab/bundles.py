"""Names that stand for several workloads at once (`arr-stack:`) become their members.

Belongs here: the expansion, before anything else looks at the workloads. What belongs to a bundle is in the catalogue.
"""

from __future__ import annotations

from dataclasses import replace

from homelab_platform.lab.catalogue import Catalogue
from homelab_platform.lab.load import LoadedLab
from homelab_platform.lab.positions import Positions


def expand_bundles(loaded: LoadedLab, catalog: Catalogue) -> LoadedLab:
    """The lab with the members of each bundle in its place; what is said of a bundle holds for each member.

    A member that the lab also names itself keeps what is said there. Members stand in the file where their bundle does.
    """
    workloads = loaded.lab.workloads
    bundles = {name: catalog.members(name) for name in workloads}
    if not any(bundles.values()):
        return loaded
    marks = dict(loaded.positions.marks)
    found = {name: said for name, said in workloads.items() if not bundles[name]}
    for name, members in bundles.items():
        for member in members:
            if member not in found:
                found[member] = workloads[name]
                marks.update(
                    {("workloads", member, *p[2:]): m for p, m in marks.items() if p[:2] == ("workloads", name)}
                )
    lab = loaded.lab.model_copy(update={"workloads": found})
    return replace(loaded, lab=lab, positions=Positions(loaded.positions.file, marks))
