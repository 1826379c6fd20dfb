"""The answers of several servers as one table.

Belongs here: Markdown, and reading it back. Not here: asking (suite.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from homelab_platform.tools.objects.conformance.suite import Outcome, questions, supported

BEGIN, END = "<!-- conformance: begin -->", "<!-- conformance: end -->"
MARKS = {"yes": "yes", "no": "**no**", "not tried": "–"}
SUPPORTED = "supported"


def column(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """The marks of one server by question, and whether it is supported."""
    marks = {found.question.name: MARKS[found.verdict] for found in outcomes}
    return {**marks, SUPPORTED: "**yes**" if supported(outcomes) else "**no**"}


def markdown(columns: Mapping[str, Mapping[str, str]]) -> str:
    """The table: a row for each question, a column for each server."""
    rows = [("", "needed", *columns), ("---", "---", *("---" for _ in columns))]
    for asked in questions():
        rows.append((asked.name, "yes" if asked.needed else "", *(found[asked.name] for found in columns.values())))
    rows.append((f"**{SUPPORTED}**", "", *(found[SUPPORTED] for found in columns.values())))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def read(document: str) -> dict[str, dict[str, str]]:
    """The columns of the table that a document holds between its two marks."""
    lines = document.partition(BEGIN)[2].partition(END)[0].strip().splitlines()
    head, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {
        name: {row[0].strip("*"): row[number] for row in rows[1:]} for number, name in enumerate(head) if number > 1
    }


def replace(document: str, table: str) -> str:
    """The document with this table between its two marks."""
    head, _, rest = document.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{table}\n{END}{tail}"
