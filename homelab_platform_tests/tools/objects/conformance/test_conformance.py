"""The committed table of docs/object-stores.md, asked of real servers again: it must say what they do today."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from homelab_platform.cli.main import app
from homelab_platform.errors import HomelabError
from homelab_platform.paths import project_path
from homelab_platform.tools.endpoints import ObjectsEndpoint
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform.tools.objects.conformance import suite, table
from homelab_platform.tools.objects.conformance.requests import Reply, Wire
from homelab_platform_tests.tools.objects.conformance.served import SERVERS, served

DOCUMENT = project_path("docs", "object-stores.md")
SAY_SO = "scripts/conformance-table writes the table anew; docs/object-stores.md explains it."


def committed() -> dict[str, dict[str, str]]:
    return table.read(DOCUMENT.read_text())


@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SERVERS)
def test_each_server_does_what_the_table_says(name: str, tmp_path: Path) -> None:
    with served(name, tmp_path / "server") as server:
        outcomes = suite.run(server.endpoint, control=server)
        with ObjectStore(server.endpoint) as store:
            left = store.buckets()
    # rclone cannot remove a bucket in which an upload in parts went wrong
    assert left == [] or not suite.supported(outcomes), "the suite left buckets behind"
    details = {o.question.name: o.detail for o in outcomes if o.verdict != "yes"}
    assert table.column(outcomes) == committed()[name], f"{details} {SAY_SO}"


def test_seaweedfs_and_minio_are_supported_and_rclone_is_not() -> None:
    found = {name: column[table.SUPPORTED] for name, column in committed().items()}
    assert found == {"SeaweedFS": "**yes**", "MinIO": "**yes**", "rclone": "**no**"}


def test_the_table_has_every_question_and_reads_back_as_it_was_written() -> None:
    columns = committed()
    names = {asked.name for asked in suite.questions()} | {table.SUPPORTED}
    assert all(set(column) == names for column in columns.values())
    assert table.read(table.replace(f"a\n{table.BEGIN}\n{table.END}\nb", table.markdown(columns))) == columns


@pytest.mark.servers
@pytest.mark.slow
def test_a_person_can_ask_their_own_server(objects_endpoint: ObjectsEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    only = [asked for asked in suite.questions() if asked.name.startswith(("PUT", "If-None-Match", "what was"))]
    monkeypatch.setattr(suite, "questions", lambda: only)
    monkeypatch.setenv("HOMELAB_S3_SECRET", objects_endpoint.secret_key)
    asked = ["objects", "check", objects_endpoint.url, "--key", objects_endpoint.access_key]
    done = CliRunner().invoke(app, [*asked, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["supported"] is True
    assert [row["answer"] for row in found["answers"]] == ["yes", "yes", "yes", "not tried"]
    assert objects_endpoint.secret_key not in done.output
    spoken = CliRunner().invoke(app, asked)
    assert "readings can be kept there; 3 questions answered yes, 0 no, 1 not tried" in spoken.stdout


@pytest.mark.servers
def test_a_server_that_overwrites_silently_is_found_out(
    objects_endpoint: ObjectsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Wire.ask

    def forgetful(self: Wire, *what: str, headers: dict[str, str] | None = None, **more: object) -> Reply:
        kept = {name: value for name, value in (headers or {}).items() if name != "If-None-Match"}
        return ask(self, *what, headers=kept, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Wire, "ask", forgetful)
    only = [asked for asked in suite.questions() if asked.name.startswith("If-None-Match")]
    monkeypatch.setattr(suite, "questions", lambda: only)
    outcomes = suite.run(objects_endpoint)
    assert {found.detail for found in outcomes} == {"a taken key is overwritten without a word"}
    assert not suite.passed(outcomes)


@pytest.mark.servers
def test_no_answer_and_a_key_that_may_nothing_are_said_plainly(
    objects_endpoint: ObjectsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HomelabError, match="nothing answers there"):
        suite.run(ObjectsEndpoint("http://127.0.0.1:9", "a-key", "a-secret"))
    with pytest.raises(HomelabError, match="the key a-key cannot make a bucket") as caught:
        suite.run(ObjectsEndpoint(objects_endpoint.url, "a-key", "a-secret"))
    assert "a-secret" not in str(caught.value)
