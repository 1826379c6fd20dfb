"""Rules on marts of the lab's own: their names, what they read, and that SQL and description agree.

Belongs here: what can be known without an SQL engine. Not here: whether the SQL's types fit; applying the mart says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from homelab_platform.errors import HomelabError, Position, Problem
from homelab_platform.lab import quantities as q
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.marts import NAMESPACES, RELATIONS, MartText, Reads, parsed, reads_of
from homelab_platform.lab.rules.streams import RESERVED

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def mart_name(ctx: RuleContext) -> Iterable[Problem]:
    """A mart's file name becomes its table's name, which must be one in SQL and not one of the platform's own."""
    resolved = ctx.resolved
    for name, mart in ctx.loaded.marts.items():
        taken = resolved is not None and name in resolved.marts and not resolved.marts[name].sql
        if taken:
            what = f"the platform has a mart {name} already"
            yield Problem(
                Position(mart.sql_file, 1, 1), what, f"Call the file my_{name}.sql, for example.", "mart-name"
            )
        elif not _NAME.fullmatch(name) or name in RESERVED:
            what = f"{name} cannot be the name of a table"
            remedy = "Use lower-case letters, digits and underscores, a letter first, and no word of SQL itself."
            yield Problem(Position(mart.sql_file, 1, 1), what, remedy, "mart-name")


def mart_reads(ctx: RuleContext) -> Iterable[Problem]:
    """A mart that reads what is not there would fail at its first run, in the middle of the night."""
    resolved = ctx.resolved
    if resolved is None:
        return
    known = {*resolved.tables, *(f"marts.{name}" for name in resolved.marts)}
    for mart in ctx.loaded.marts.values():
        found = _reads(mart)
        if isinstance(found, HomelabError):
            yield from found.problems
            continue
        if not resolved.streams:
            what = "the lab has no stream, so there is nothing to compute from"
            yield Problem(Position(mart.sql_file, 1, 1), what, "Add one to streams:.", "mart-reads")
            continue
        for name in sorted(found.relations - set(RELATIONS)):
            remedy = (
                f"{q.did_you_mean(name, RELATIONS)} Tables are written with their namespace: marts.readings_hourly."
            )
            yield Problem(_place(mart, name), f"there is nothing called {name} to read", remedy, "mart-reads")
        for name in sorted(found.tables - known):
            remedy = q.did_you_mean(name, known, "Tables")
            if name.partition(".")[0] not in NAMESPACES:
                remedy = f"A mart reads tables of {' and '.join(NAMESPACES)}. {remedy}"
            yield Problem(_place(mart, name.rpartition(".")[2]), f"no table is called {name}", remedy, "mart-reads")
        if f"marts.{mart.name}" in found.tables:
            yield Problem(_place(mart, mart.name), "it reads itself", "Read what it is made from.", "mart-reads")


def mart_columns(ctx: RuleContext) -> Iterable[Problem]:
    """A column that is computed but not described, or the other way round, is a mistake in one of the two files."""
    for mart in ctx.loaded.marts.values():
        found = _reads(mart)
        if isinstance(found, HomelabError) or "*" in found.columns:
            continue
        for name in mart.file.columns:
            if name not in found.columns:
                where = mart.positions.key("columns", name)
                remedy = q.did_you_mean(name, found.columns, "It gives")
                yield Problem(where, f"the SQL gives no column {name}", remedy, "mart-columns")
        for name in found.columns:
            if name not in mart.file.columns:
                remedy = f"Describe it in {mart.yaml_file}, under columns."
                yield Problem(_place(mart, name), f"nothing says what the column {name} is", remedy, "mart-columns")


def mart_tests(ctx: RuleContext) -> Iterable[Problem]:
    """A test that cannot be read would be a check that always fails, or never."""
    for mart in ctx.loaded.marts.values():
        for name, sql in mart.file.tests.no_rows.items():
            where = mart.positions.at("tests", "no_rows", name)
            try:
                parsed(sql, mart.yaml_file)
            except HomelabError as error:
                remedy = "Write one SELECT that finds what is wrong."
                yield Problem(where, f"{name}: {error.problems[0].what}", remedy, "mart-tests")
            if name in ("unique", "not_null", "range"):
                yield Problem(where, f"{name} is the name of a test that there is", "Give it another.", "mart-tests")


def _reads(mart: MartText) -> Reads | HomelabError:
    try:
        return reads_of(mart.sql, mart.sql_file)
    except HomelabError as error:
        return error


def _place(mart: MartText, word: str) -> Position:
    """Where a word first stands in a mart's SQL."""
    found = re.search(rf"\b{re.escape(word)}\b", mart.sql)
    before = mart.sql[: found.start()] if found else ""
    return Position(mart.sql_file, before.count("\n") + 1, len(before) - before.rfind("\n"))


RULES = (mart_name, mart_reads, mart_columns, mart_tests)
