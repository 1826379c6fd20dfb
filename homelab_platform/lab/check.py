"""Everything that is wrong with a lab, all at once, before anything is touched.

Belongs here: the order of checks (load, names and settings against the catalogue, resolve, rules). The rules are in
lab/rules/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from homelab_platform.errors import HomelabError, Problem
from homelab_platform.lab import quantities as q
from homelab_platform.lab.bundles import expand
from homelab_platform.lab.catalogue import Catalogue
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.copies import COPIES, copy_warnings
from homelab_platform.lab.host_services.table import setting_problems
from homelab_platform.lab.load import LoadedLab, load_as_meant, load_lab, sort_problems
from homelab_platform.lab.model.workloads import Workload
from homelab_platform.lab.resolve.lab import resolve
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.lab.rules import ALL_RULES, LOCAL_RULES
from homelab_platform.lab.served import unserved

OPEN_ENTRANCE = "open-entrance"
ADVICE = (OPEN_ENTRANCE, COPIES)
"""The rules of warnings that are not about what has no effect."""


def check_lab(path: Path, catalog: Catalogue) -> list[Problem]:
    """Every problem of the lab file, in the order of the file; an empty list when there is none."""
    try:
        loaded = load_lab(path)
    except HomelabError as error:
        return sort_problems([*error.problems, *_further(path, catalog, error)])
    return check_loaded(loaded, catalog)[0]


def lab_warnings(path: Path, catalog: Catalogue) -> list[Problem]:
    """What the lab file asks for without effect in this version, and what its owner may regret, in the order of the
    file. Raises as load_lab does.
    """
    loaded = expand(load_lab(path), catalog)
    found = [*unserved(loaded.positions, dangerous=False), *_open_entrances(loaded), *copy_warnings(loaded)]
    return sort_problems(found)


def _open_entrances(loaded: LoadedLab) -> Iterator[Problem]:
    """HTTP entrances that ask for no token: whoever reaches the port may send readings."""
    for name, stream in loaded.lab.streams.items():
        if stream.from_.http is not None and stream.from_.http.token is None:
            what = f"{name}: whoever reaches this entrance may send readings, for it asks for no token"
            remedy = f"Add token: sops:secrets/streams.yaml#{name}; homelab secrets init makes it."
            yield Problem(loaded.positions.at("streams", name, "from"), what, remedy, OPEN_ENTRANCE, "warning")


def _further(path: Path, catalog: Catalogue, error: HomelabError) -> list[Problem]:
    """What else would be wrong once the typing errors are put right, elsewhere than at their places."""
    found = load_as_meant(path)
    if found is None:
        return []
    loaded, left_out = found
    told = {str(problem.where) for problem in error.problems}
    further = check_loaded(loaded, catalog, partial=left_out.foundations)[0]
    gone = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, left_out.names))})(?![\w-])") if left_out.names else None
    return [p for p in further if str(p.where) not in told and not (gone and gone.search(f"{p.what} {p.remedy}"))]


def load_resolved(path: Path, catalog: Catalogue) -> ResolvedLab:
    """The lab, checked and resolved; raises HomelabError with every problem."""
    try:
        loaded = load_lab(path)
    except HomelabError as error:
        raise HomelabError(sort_problems([*error.problems, *_further(path, catalog, error)])) from None
    problems, resolved = check_loaded(loaded, catalog)
    if problems or resolved is None:
        raise HomelabError(problems)
    return resolved


def check_loaded(
    loaded: LoadedLab, catalog: Catalogue, *, partial: bool = False
) -> tuple[list[Problem], ResolvedLab | None]:
    """The problems of a loaded lab, and what it resolves to when it can be resolved at all.

    Of a `partial` lab, from which hosts and the like were left out, only what is said of things that stand there.
    """
    loaded = expand(loaded, catalog)
    problems = list(catalogue_problems(loaded, catalog))
    resolved: ResolvedLab | None = None
    try:
        resolved = resolve(loaded, catalog)
    except HomelabError as error:
        problems += () if partial else error.problems
    context = RuleContext(loaded, catalog, resolved)
    for rule in LOCAL_RULES if partial else ALL_RULES:
        problems += rule(context)
    return sort_problems(problems), resolved


def catalogue_problems(loaded: LoadedLab, catalog: Catalogue) -> Iterator[Problem]:
    """Workloads that nobody knows, and settings that their entries do not declare or that cannot be read."""
    positions = loaded.positions
    for name, workload in loaded.lab.workloads.items():
        path = ("workloads", name)
        asked = workload.catalogue or name
        found = catalog.resolve_name(asked)
        if found is None and not is_own(workload):
            where = positions.at(*path, "catalogue") if workload.catalogue else positions.key(*path)
            remedy = q.did_you_mean(asked, catalog)
            own = "Of your own one give chart:, kustomize: or image:."
            yield Problem(where, f"no workload is called {asked}", f"{remedy} {own}", "unknown-workload")
            continue
        declared = dict(catalog[found].settings) if found is not None else {}
        for problem in setting_problems(declared, workload.settings, path, positions):
            yield _with_common_keys(problem, workload, declared, name)


def is_own(workload: Workload) -> bool:
    """Whether the lab itself says what runs, without the catalogue."""
    return bool(workload.chart or workload.kustomize or workload.image)


def _with_common_keys(problem: Problem, workload: Workload, declared: Mapping[str, object], name: str) -> Problem:
    prefix = f"{name}: unknown key "
    if problem.rule != "unknown-key" or not problem.what.startswith(prefix):
        return problem
    fields = {info.alias or field for field, info in type(workload).model_fields.items()}
    return replace(problem, remedy=q.did_you_mean(problem.what.removeprefix(prefix), {*fields, *declared}, "Keys"))
