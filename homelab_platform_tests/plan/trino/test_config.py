"""What a lab's Trino is told: no secret in it, limits that the lab can change, the same for server and chart."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedLab, ResolvedNetwork, ResolvedPerson, ResolvedWorkload
from homelab_platform.plan.trino import config as trino_config
from homelab_platform.plan.trino.helm import helm_values
from homelab_platform.plan.trino.limits import GI, MI, limits_of
from homelab_platform.servers import trino as server
from homelab_platform.tools.certificates import ensure_certificate
from homelab_platform.tools.endpoints import Lakehouse, ObjectsEndpoint, PostgresEndpoint
from homelab_platform.tools.trino import people as trino_people
from homelab_platform_tests.plan.labs import provided

SOURCES = trino_config.TrinoSources("127.0.0.1:5432", "lake", "http://127.0.0.1:8333", "lake")
PLACES = trino_config.TrinoPlaces("/site/trino/etc", "/site/trino/data", 8080, 8443)
ALL = {"SELECT", "INSERT", "DELETE", "UPDATE", "OWNERSHIP", "GRANT_SELECT"}
ROLES = {"ada": "admin", "ben": "dev", "eve": "guest"}


def lab_with(roles: dict[str, Any] | None = None, **settings: Any) -> ResolvedLab:
    """A lab with a Trino of two gibibytes and these people."""
    people = {name: ResolvedPerson(name=name, role=role) for name, role in (ROLES if roles is None else roles).items()}

    def workload(name: str, **more: Any) -> ResolvedWorkload:
        said = {"catalogue": name, "namespace": "data", "tier": "extras", "kind": "helm", "provides": provided(name)}
        return ResolvedWorkload.model_validate({"name": name, **said, **more})

    return ResolvedLab(
        version=1,
        name="My-Lab",
        timezone="UTC",
        source="lab.yaml",
        network=ResolvedNetwork(domain="lab.example.org"),
        people=people,
        workloads={
            "trino": workload("trino", memory=2 * GI, cpu=500, settings=settings),
            "postgresql": workload("postgresql"),
            "minio": workload("minio"),
        },
    )


def rule_of(rules: dict[str, Any], kind: str, user: str, **place: str) -> dict[str, Any] | None:
    """The first rule that matches, as Trino looks for it."""
    asked = {"user": user, "group": ROLES[user], **place}
    for rule in rules[kind]:
        if all(re.fullmatch(rule[key], value) for key, value in asked.items() if key in rule):
            return dict(rule)
    return None


def test_no_rendered_file_holds_a_secret_and_equal_labs_give_equal_files() -> None:
    first = trino_config.render(trino_config.config_of(lab_with(), SOURCES), PLACES)
    assert first == trino_config.render(trino_config.config_of(lab_with(), SOURCES), PLACES)
    references = set(re.findall(r"\$\{ENV:(\w+)\}", "".join(first.values())))
    assert references == set(trino_config.SECRETS)
    for line in "\n".join(first.values()).splitlines():
        if re.search(r"(password|secret|access-key|secret-key)=", line):
            assert "${ENV:" in line or "file=" in line, line


@pytest.mark.parametrize(
    ("user", "table", "privileges"),
    [
        ("eve", ("hive", "marts", "readings_hourly"), {"SELECT"}),
        ("eve", ("hive", "default", "sensor_data"), set()),
        ("eve", ("postgresql", "public", "applied_state"), set()),
        ("ben", ("hive", "default", "sensor_data"), {"SELECT", "GRANT_SELECT"}),
        ("ben", ("hive", "ben", "mine"), ALL),
        ("ben", ("postgresql", "public", "applied_state"), {"SELECT"}),
        ("ben", ("postgresql", "public", "iceberg_tables"), set()),
        ("ada", ("postgresql", "public", "iceberg_tables"), set()),
        ("ada", ("hive", "default", "sensor_data"), ALL),
    ],
)  # fmt: skip
def test_rights_follow_the_role(user: str, table: tuple[str, str, str], privileges: set[str]) -> None:
    rules = trino_config.rules(trino_config.config_of(lab_with(), SOURCES))
    found = rule_of(rules, "tables", user, catalog=table[0], schema=table[1], table=table[2])
    assert set((found or {}).get("privileges", ())) == privileges


def test_a_dev_named_like_a_shared_schema_does_not_own_it() -> None:
    config = trino_config.config_of(lab_with({"marts": "dev", "default": "dev", "b.n": "dev"}), SOURCES)
    owned = [rule for rule in trino_config.rules(config)["schemas"] if rule["owner"] and "user" in rule]
    assert owned == [{"user": r"b\.n", "catalog": "hive", "schema": r"b\.n", "owner": True}]


def test_accounts_of_machines_query_nothing() -> None:
    lab = lab_with()
    builder = ResolvedPerson(name="builder", role="admin", settings={"kind": "build"})
    lab = lab.model_copy(update={"people": {**lab.people, "builder": builder}})
    assert [a.name for a in trino_config.accounts_of(lab)] == ["homelab", "ada", "ben", "eve"]


def test_limits_follow_the_memory_and_the_lab_may_change_each() -> None:
    assert limits_of(lab_with()).heap == int(1.5 * GI)
    said = {"guest": {"at_once": 2, "memory": "20%", "time": "5m", "scan": "1Gi"}}
    made = limits_of(lab_with(heap=GI, limits=said))
    guest = made.roles["guest"]
    assert (made.heap, guest.at_once, guest.memory, guest.seconds, guest.scanned) == (GI, 2, 20, 300, GI)
    assert guest.waiting == limits_of(lab_with()).roles["guest"].waiting
    config = trino_config.config_of(lab_with(heap=GI, limits=said), SOURCES)
    guests = next(p for p in trino_config.session_properties(config) if p["group"] == "lab.guest")
    assert guests["sessionProperties"] == {"query_max_scan_physical_bytes": f"{GI}B"}
    assert "query.max-run-time=300s\n" in trino_config.render(config, PLACES)["config.properties"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"limits": {"guests": {}}}, "Did you mean guest"),
        ({"limits": {"guest": {"atonce": 1}}}, "Did you mean at_once"),
        ({"limits": {"guest": {"memory": 200}}}, "out of range"),
        ({"limits": {"guest": {"time": "soon"}}}, "not a duration"),
        ({"heap": GI, "query-memory": GI}, "does not fit"),
    ],
)
def test_a_limit_that_makes_no_sense_is_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(HomelabError, match=said):
        limits_of(lab_with(**settings))


def test_nobody_has_a_default_that_they_may_not_set_and_a_guest_gets_no_more_time() -> None:
    config = trino_config.config_of(lab_with(), SOURCES)
    rules = trino_config.rules(config)

    def may_set(user: str, name: str) -> bool:
        found = rule_of(rules, "system_session_properties", user, property=name)
        return bool(found and found["allow"])

    for one in trino_config.session_properties(config):
        user = next(name for name, role in ROLES.items() if one["group"] == f"lab.{role}")
        assert all(may_set(user, name) for name in one["sessionProperties"])
    assert not may_set("eve", "query_max_run_time")
    assert not may_set("ben", "query_max_memory")
    assert may_set("eve", "join_distribution_type")


def test_the_chart_is_told_the_same_as_the_server() -> None:
    lab = lab_with(heap=GI)
    values = helm_values(lab, lab.workloads["trino"])
    files = trino_config.render(trino_config.config_of(lab, SOURCES), PLACES)
    assert values["accessControl"]["rules"]["rules.json"] == files["rules.json"]
    assert values["resourceGroups"]["resourceGroupsConfig"] == files["resource-groups.json"]
    assert values["sessionProperties"]["sessionPropertiesConfig"] == files["session-properties.json"]
    assert values["auth"]["groups"] == files["group.db"]
    addresses = ("connection-url", "s3.endpoint")
    for name in ("hive", "postgresql"):
        ours, theirs = (
            [line for line in text.splitlines() if not any(a in line for a in addresses)]
            for text in (files[f"catalog/{name}.properties"], values["catalogs"][name])
        )
        assert ours == theirs
    assert values["coordinator"]["jvm"]["maxHeapSize"] == f"{GI // MI}M"
    assert values["coordinator"]["config"]["nodeScheduler"]["includeCoordinator"]


def test_a_lab_may_name_catalogs_of_its_own() -> None:
    lab = lab_with(catalogs={"hive": "iceberg", "memory": "memory", "old": {"connector.name": "tpch"}})
    found = helm_values(lab, lab.workloads["trino"])["catalogs"]
    assert found["hive"].startswith("connector.name=iceberg\n")
    assert (found["memory"], found["old"]) == ("connector.name=memory\n", "connector.name=tpch\n")
    assert "postgresql" not in found


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_value_survives_a_properties_file(value: str) -> None:
    text = trino_config.escape(value)
    assert text.isascii()
    assert "\n" not in text
    assert not text.startswith(" ")
    assert _as_java_reads(text) == value


def _as_java_reads(text: str) -> str:
    """A value as java.util.Properties.load takes it."""
    made = []
    for found in re.finditer(r"\\u([0-9a-f]{4})|\\(.)|([^\\])", text, re.DOTALL):
        code, escaped, plain = found.groups()
        made.append(chr(int(code, 16)) if code else {"n": "\n", "r": "\r", "t": "\t"}.get(escaped, escaped or plain))
    return "".join(made).encode("utf-16", "surrogatepass").decode("utf-16")


def test_the_password_file_keeps_what_still_fits() -> None:
    first = trino_people.password_file({"ada": "one", "ben": "two"})
    assert re.fullmatch(r"ada:\$2y\$10\$\S{53}\nben:\$2y\$10\$\S{53}\n", first)
    assert trino_people.password_file({"ada": "one", "ben": "two"}, first) == first
    changed = trino_people.password_file({"ada": "one", "ben": "three"}, first).splitlines()
    assert changed[0] == first.splitlines()[0]
    assert changed[1] != first.splitlines()[1]
    with pytest.raises(HomelabError, match="80 bytes"):
        trino_people.password_file({"ada": "é" * 40})


def test_the_authority_stays_while_the_certificate_is_renewed(tmp_path: Path) -> None:
    keystore = tmp_path / "trino.pem"
    authority = ensure_certificate(tmp_path, ["localhost", "127.0.0.1"], keystore, subject="trino")
    before, own = authority.read_bytes(), keystore.read_bytes()
    ensure_certificate(tmp_path, ["127.0.0.1", "localhost"], keystore, subject="trino")
    assert keystore.read_bytes() == own
    ensure_certificate(tmp_path, ["localhost", "127.0.0.1", "trino.lab.example.org"], keystore, subject="trino")
    assert keystore.read_bytes() != own
    assert authority.read_bytes() == before
    assert keystore.stat().st_mode & 0o777 == 0o600


def test_prepared_files_are_the_owners_own_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    secret = 'a b\\c"ä'
    lake = Lakehouse(
        PostgresEndpoint("127.0.0.1", 5432, "homelab", "lake", "super"),
        ObjectsEndpoint("http://127.0.0.1:8333", "key", secret),
    )
    folder = tmp_path / "trino"

    def prepare() -> dict[str, bytes]:
        server.prepare(folder, server.TrinoPorts(1, 2), lake, password="pw", shared_secret="shared", lab=lab_with())
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    first = prepare()
    assert prepare() == first
    assert all(p.stat().st_mode & 0o077 == 0 for p in folder.rglob("*") if p.name != "ca.pem")
    catalog = first["etc/catalog/hive.properties"].decode()
    assert f"s3.aws-secret-key={trino_config.escape(secret)}\n" in catalog
    assert "super" not in "".join(text.decode(errors="replace") for text in first.values())
    assert set(json.loads(first["people.json"])) == {"ada", "ben", "eve"}
    assert server.person_password(folder, "eve") == json.loads(first["people.json"])["eve"]
    with pytest.raises(HomelabError, match="no person"):
        server.person_password(folder, "mallory")
