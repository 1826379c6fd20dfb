"""Reading the catalogue: look-ups, errors that say where, the lab's own entries, the cache."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homelab_platform.catalog import load
from homelab_platform.catalog.load import load_catalogue
from homelab_platform.errors import HomelabError, Position
from homelab_platform_tests.catalog.conftest import ENTRY, Write


def problem_of(error: pytest.ExceptionInfo[HomelabError]) -> tuple[int, int, str, str]:
    """Line, column, what and remedy of the only problem."""
    (problem,) = error.value.problems
    assert isinstance(problem.where, Position)
    return problem.where.line, problem.where.column, problem.what, problem.remedy


def test_entries_come_in_alphabetical_order_and_in_plain_units(write: Write) -> None:
    write("zebra")
    write("ant")
    catalogue = load_catalogue()
    assert list(catalogue) == ["ant", "zebra"]
    assert (catalogue["ant"].cpu, catalogue["ant"].memory) == (100, 64 * 1024**2)
    assert catalogue["ant"].ports["http"].port == 8080


def test_an_old_name_leads_to_the_new_one_with_the_reason(write: Write) -> None:
    write("thing", ENTRY + "aliases: {old-thing: thing took its place.}\n")
    catalogue = load_catalogue()
    assert catalogue.resolve_name("old-thing") == "thing"
    assert catalogue.warning("old-thing") == "thing took its place."
    assert catalogue.resolve_name("thing") == "thing"
    assert catalogue.warning("thing") is None
    assert catalogue.resolve_name("nothing") is None


def test_a_typing_error_finds_the_name_that_was_meant(write: Write) -> None:
    write("thing", ENTRY + "aliases: {gadget: thing took its place.}\n")
    catalogue = load_catalogue()
    assert catalogue.suggest("thign") == "thing"
    assert catalogue.suggest("gadgte") == "thing"
    assert catalogue.suggest("quite-another") is None


def test_a_port_may_name_its_protocol(write: Write) -> None:
    write("thing", ENTRY.replace("{http: 8080}", "{http: 8080, dns: 53/udp}"))
    assert load_catalogue()["thing"].ports["dns"].protocol == "udp"


def test_an_unknown_key_is_named_with_its_place_and_what_was_meant(write: Write) -> None:
    write("thing", ENTRY + "lisense: MIT\n")
    with pytest.raises(HomelabError) as error:
        load_catalogue()
    assert problem_of(error) == (13, 1, "unknown key lisense", "Did you mean licence?")


def test_a_missing_key_is_named(write: Write) -> None:
    write("thing", ENTRY.replace("namespace: things\n", ""))
    with pytest.raises(HomelabError) as error:
        load_catalogue()
    assert problem_of(error)[2] == "namespace is missing"


@pytest.mark.parametrize(
    ("key", "wrong", "line", "said"),
    [
        ("memory: 64Mi", "memory: 64", 9, "has no unit"),
        ("memory: 64Mi", "memory: 64MB", 9, "Write 64Mi"),
        ("kind: app", "kind: helm", 1, "kind helm and chart belong together"),
        ("{http: 8080}", "{http: 80800}", 11, "65535"),
        ("image: example.org/thing:1.0", "image: example.org/thing:latest", 1, "never latest"),
        ("image: example.org/thing:1.0", "image: example.org:5000/thing", 1, "needs a tag"),
        ("backup: {method: none, note: it holds nothing}", "backup: {method: none}", 12, "says why nothing is lost"),
        ("backup: {method: none, note: it holds nothing}", "backup: {method: volume}", 12, "what the backup holds"),
        ("runs: 'yes'", "runs: 'no'", 1, "contradict"),
        ("licence: MIT", "licence: 1.0", 6, "valid string"),
    ],
)
def test_what_cannot_be_is_refused_where_it_stands(write: Write, key: str, wrong: str, line: int, said: str) -> None:
    write("thing", ENTRY.replace(key, wrong))
    with pytest.raises(HomelabError) as error:
        load_catalogue()
    at, _, what, remedy = problem_of(error)
    assert at == line
    assert said in f"{what} {remedy}"


def test_a_database_on_a_volume_that_may_lie_on_nfs_is_refused(write: Write) -> None:
    write("thing", ENTRY + "volumes: {data: {size: 1Gi, holds: sqlite}}\n")
    with pytest.raises(HomelabError, match="breaks on NFS"):
        load_catalogue()


def test_problems_of_all_files_come_at_once(write: Write) -> None:
    write("one", ENTRY + "colour: red\n")
    write("two", "title: [\n")
    write("three", "- a list\n")
    with pytest.raises(HomelabError) as error:
        load_catalogue()
    files = {p.where.file.split("/")[-2] for p in error.value.problems if isinstance(p.where, Position)}
    assert files == {"one", "two", "three"}


def test_two_workloads_cannot_claim_one_old_name(write: Write) -> None:
    write("one", ENTRY + "aliases: {old: one is it.}\n")
    write("two", ENTRY + "aliases: {old: two is it.}\n")
    with pytest.raises(HomelabError, match="its alias old already means one"):
        load_catalogue()


def test_an_old_name_cannot_hide_a_workload(write: Write) -> None:
    write("one", ENTRY + "aliases: {two: one is it.}\n")
    write("two")
    with pytest.raises(HomelabError, match="its alias two already means two"):
        load_catalogue()


def test_a_lab_adds_workloads_and_replaces_those_of_the_project(write: Write, tmp_path: Path) -> None:
    write("thing")
    own = tmp_path / "lab" / "helm"
    write("thing", ENTRY.replace("title: Thing", "title: My thing"), own)
    write("more", ENTRY, own)
    catalogue = load_catalogue(own)
    assert list(catalogue) == ["more", "thing"]
    assert catalogue["thing"].title == "My thing"
    assert load_catalogue()["thing"].title == "Thing"


def test_a_bundle_stands_for_its_members_and_is_no_workload(write: Write) -> None:
    write("thing")
    write("things", "title: Things\ndescription: All of them.\nkind: bundle\nmembers: [thing]\n")
    catalogue = load_catalogue()
    assert list(catalogue) == ["thing"]
    assert catalogue.bundles["things"].members == ("thing",)


def test_a_folder_without_a_workload_file_is_passed_over(write: Write, project: Path) -> None:
    write("thing")
    (project / "helm" / "library").mkdir()
    assert list(load_catalogue()) == ["thing"]


def test_an_empty_project_has_an_empty_catalogue(project: Path) -> None:
    assert len(load_catalogue()) == 0


def test_the_second_reading_parses_no_yaml(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("thing", ENTRY + "settings: {level: {kind: integer, description: how much, default: 3}}\n")
    first = load_catalogue()
    monkeypatch.setattr(load, "read_entries", lambda files: pytest.fail("parsed again"))
    second = load_catalogue()
    assert second.entries == first.entries
    assert second["thing"].settings["level"].default == 3


def test_a_changed_added_or_removed_file_is_seen(write: Write) -> None:
    path = write("thing")
    load_catalogue()
    path.write_text(ENTRY.replace("title: Thing", "title: Other"), encoding="utf-8")
    assert load_catalogue()["thing"].title == "Other"
    write("more")
    assert list(load_catalogue()) == ["more", "thing"]
    path.unlink()
    assert list(load_catalogue()) == ["more"]


@pytest.mark.parametrize("damage", [b"", b"junk", b"\x00" * 100, b"a\nb\nc"])
def test_a_damaged_cache_is_made_anew(write: Write, own_cache: Path, damage: bytes) -> None:
    write("thing")
    load_catalogue()
    (slot,) = (own_cache / "catalogue").iterdir()
    good = slot.read_bytes()
    slot.write_bytes(damage)
    assert list(load_catalogue()) == ["thing"]
    assert slot.read_bytes() == good


def test_a_cut_off_cache_is_made_anew(write: Write, own_cache: Path) -> None:
    write("thing")
    load_catalogue()
    (slot,) = (own_cache / "catalogue").iterdir()
    good = slot.read_bytes()
    for end in range(0, len(good) - 1, 37):
        slot.write_bytes(good[:end])
        assert list(load_catalogue()) == ["thing"]


def test_what_nobody_used_for_a_season_leaves_the_cache(write: Write, own_cache: Path) -> None:
    old = own_cache / "catalogue" / "left-behind"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"cut off")
    os.utime(old, (0, 0))
    write("thing")
    load_catalogue()
    assert not old.exists()


def test_without_a_writable_cache_it_is_only_slower(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("thing")
    monkeypatch.setenv("HOMELAB_CACHE", str(path))  # a file where a folder should be
    assert list(load_catalogue()) == ["thing"]
    assert list(load_catalogue()) == ["thing"]


def test_several_processes_may_read_and_write_the_cache_at_once(write: Write, own_cache: Path) -> None:
    for number in range(30):
        write(f"thing-{number}")
    code = (
        "import os\nfrom pathlib import Path\nfrom homelab_platform.catalog.load import load_catalogue\n"
        "for _ in range(40):\n"
        "    assert len(load_catalogue()) == 30\n"
        "    for slot in (Path(os.environ['HOMELAB_CACHE']) / 'catalogue').glob('*'):\n"
        "        slot.unlink(missing_ok=True)\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ)) for _ in range(3)]
    assert [process.wait(timeout=60) for process in running] == [0, 0, 0]
    load_catalogue()
    assert len(list((own_cache / "catalogue").iterdir())) == 1


def test_the_real_catalogue_is_there_within_sixty_milliseconds_when_warm() -> None:
    load_catalogue()
    took = []
    for _ in range(7):
        start = time.process_time()
        load_catalogue()
        took.append(time.process_time() - start)
    assert min(took) < 0.06


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(line=st.integers(0, 12), text=st.text(max_size=40))
def test_whatever_a_line_says_it_is_read_or_refused_with_its_file(write: Write, line: int, text: str) -> None:
    lines = ENTRY.splitlines()
    lines[line : line + 1] = [text]
    path = write("thing", "\n".join(lines).encode("utf-8", "surrogatepass").decode("utf-8", "replace"))
    try:
        load_catalogue()
    except HomelabError as error:
        for problem in error.problems:
            assert str(path) in str(problem.where)
            assert problem.what
