"""The workloads that a lab means without naming them: a bundle's members, and the operators that its workloads need.

Belongs here: the expansion, before anything else looks at the workloads. What belongs to a bundle and which entries are
operators is in the catalogue.
"""

from __future__ import annotations

from dataclasses import replace

from homelab_platform.lab.catalogue import Catalogue
from homelab_platform.lab.load import LoadedLab
from homelab_platform.lab.model.workloads import Workload
from homelab_platform.lab.positions import Positions


def expand(loaded: LoadedLab, catalog: Catalogue) -> LoadedLab:
    """The lab with everything in it that it means: bundles become their members, operators come with who needs them."""
    return add_operators(expand_bundles(loaded, catalog), catalog)


def add_operators(loaded: LoadedLab, catalog: Catalogue) -> LoadedLab:
    """The lab with the operators that its workloads cannot run without and that it does not name.

    An operator has no use of its own, so nobody needs to think of it; in the file it stands where the first workload
    that needs it does. A lab that names it keeps what is said there.
    """
    workloads = dict(loaded.lab.workloads)
    present = {catalog.resolve_name(said.catalogue or name) for name, said in workloads.items()}
    marks = dict(loaded.positions.marks)
    queue = list(workloads)
    for name in queue:
        for operator in _operators(workloads[name], name, catalog):
            if operator in present or operator in workloads:
                continue
            present.add(operator)
            workloads[operator] = Workload()
            if (place := marks.get(("workloads", name))) is not None:
                marks["workloads", operator] = place
            queue.append(operator)
    if len(workloads) == len(loaded.lab.workloads):
        return loaded
    lab = loaded.lab.model_copy(update={"workloads": workloads})
    return replace(loaded, lab=lab, positions=Positions(loaded.positions.file, marks))


def _operators(workload: Workload, name: str, catalog: Catalogue) -> list[str]:
    entry = catalog.resolve_name(workload.catalogue or name)
    needs = catalog[entry].needs if entry is not None else ()
    return [need for need in needs if need in catalog and catalog[need].operator]


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
