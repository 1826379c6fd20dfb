"""Trino's configuration, rendered from the lab: the same text for the server on this machine and for the Helm chart.

Belongs here: catalogs, access rules, groups, resource groups, session limits, server and JVM settings. Not here: the
limits themselves (limits.py), passwords and certificates (tools/trino/people.py), or running it (servers/trino.py).

No text holds a secret: Trino's own `${ENV:NAME}` stands where one belongs (SECRETS), which the chart's pods fill from
their environment and servers/trino.py when it writes the files. Settings are named as in the documentation of
Trino 476; who may do what is its file-based access control.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from homelab_platform.names import CATALOG, LOOPBACK
from homelab_platform.plan.trino.limits import MI, ROLES, TrinoLimits, limits_of

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab

STATE_CATALOG = "postgresql"
MARTS, STATE_SCHEMA = "marts", "public"
PLATFORM_USER = "homelab"
"""The platform's own account, an admin."""
CATALOG_ROLE, READER_ROLE = "trino_catalog", "trino_reader"
"""PostgreSQL roles: one may change the Iceberg catalog's two tables, the other only read the tables of STATE_TABLES."""
STATE_TABLES = ("applied_state", "ingest_ledger", "lake_changes", "day_files")
"""What the catalog `postgresql` shows: the lab's state and what became of each raw object."""
SECRETS = ("TRINO_CATALOG_PASSWORD", "TRINO_READER_PASSWORD", "TRINO_S3_KEY", "TRINO_S3_SECRET", "TRINO_SHARED_SECRET")
REFRESH = "5s"
"""How soon a running server sees new people, passwords and rules."""
_SHARED_SCHEMAS = frozenset({"default", MARTS, "system", "information_schema"})
_EVERYTHING = ["SELECT", "INSERT", "DELETE", "UPDATE", "OWNERSHIP", "GRANT_SELECT"]
RUN_TIME, SCANNED = "query_max_run_time", "query_max_scan_physical_bytes"
"""Session properties with defaults by role. Trino lets nobody query whose default they were not allowed to set."""
STRICTEST = "guest"
"""The role whose time of a query is the server's own default, which nobody else sets for it."""


@dataclass(frozen=True)
class TrinoAccount:
    """Somebody who may log in; `role` is admin, dev or guest."""

    name: str
    role: str


@dataclass(frozen=True)
class TrinoSources:
    """Where the data lie, as Trino reaches it: PostgreSQL as `host:port`, the S3 server's URL, the lake's bucket."""

    postgres: str
    database: str
    objects: str
    lake_bucket: str
    region: str = "us-east-1"


@dataclass(frozen=True)
class TrinoPlaces:
    """Where the server's own files lie and what it listens on. `bind` is None for every interface (in a pod)."""

    etc: str
    data: str
    http: int
    https: int
    bind: str | None = LOOPBACK


@dataclass(frozen=True)
class TrinoConfig:
    """Everything that the configuration follows from. `dynamic` lets admins make catalogs by SQL (tests do)."""

    sources: TrinoSources
    accounts: tuple[TrinoAccount, ...]
    limits: TrinoLimits = field(default_factory=TrinoLimits)
    environment: str = "lab"
    dynamic: bool = False


def accounts_of(lab: ResolvedLab | None) -> tuple[TrinoAccount, ...]:
    """The platform's own account and the lab's people, by name. Accounts for builds and deployments query nothing."""
    people = sorted(lab.people.values(), key=lambda person: person.name) if lab is not None else []
    found = [TrinoAccount(p.name, p.role) for p in people if p.settings.get("kind", "person") == "person"]
    return (TrinoAccount(PLATFORM_USER, "admin"), *(a for a in found if a.name != PLATFORM_USER))


def config_of(
    lab: ResolvedLab | None, sources: TrinoSources, *, heap: int | None = None, dynamic: bool = False
) -> TrinoConfig:
    """The configuration of a lab's Trino; `heap` in bytes overrides the lab's. Raises HomelabError, see limits_of."""
    name = re.sub(r"[^a-z0-9_]", "_", lab.name.lower()) if lab is not None else "lab"
    return TrinoConfig(sources, accounts_of(lab), limits_of(lab, heap=heap), name, dynamic)


def catalogs(config: TrinoConfig) -> dict[str, str]:
    """The catalogs' properties by name: Iceberg tables, and the lab's state in PostgreSQL."""
    return {CATALOG: properties(iceberg_properties(config.sources)), STATE_CATALOG: properties(_state(config.sources))}


def iceberg_properties(sources: TrinoSources) -> dict[str, str]:
    """The properties of a catalog that shows the same tables as PyIceberg's SQL catalog of that database."""
    return {
        "connector.name": "iceberg",
        "iceberg.catalog.type": "jdbc",
        "iceberg.jdbc-catalog.driver-class": "org.postgresql.Driver",
        "iceberg.jdbc-catalog.connection-url": _jdbc(sources),
        "iceberg.jdbc-catalog.connection-user": CATALOG_ROLE,
        "iceberg.jdbc-catalog.connection-password": _secret("TRINO_CATALOG_PASSWORD"),
        "iceberg.jdbc-catalog.catalog-name": CATALOG,
        "iceberg.jdbc-catalog.schema-version": "V1",
        "iceberg.jdbc-catalog.default-warehouse-dir": f"s3://{sources.lake_bucket}",
        "iceberg.compression-codec": "ZSTD",
        "fs.native-s3.enabled": "true",
        "s3.endpoint": sources.objects,
        "s3.region": sources.region,
        "s3.path-style-access": "true",
        "s3.aws-access-key": _secret("TRINO_S3_KEY"),
        "s3.aws-secret-key": _secret("TRINO_S3_SECRET"),
    }


def _state(sources: TrinoSources) -> dict[str, str]:
    return {
        "connector.name": "postgresql",
        "connection-url": _jdbc(sources),
        "connection-user": READER_ROLE,
        "connection-password": _secret("TRINO_READER_PASSWORD"),
    }


def _jdbc(sources: TrinoSources) -> str:
    return f"jdbc:postgresql://{sources.postgres}/{sources.database}"


def _secret(name: str) -> str:
    return f"${{ENV:{name}}}"


def group_file(config: TrinoConfig) -> str:
    """Who has which role, as Trino's file group provider reads it."""
    members = {role: [a.name for a in config.accounts if a.role == role] for role in ROLES}
    return "".join(f"{role}:{','.join(names)}\n" for role, names in members.items() if names)


def rules(config: TrinoConfig) -> dict[str, Any]:
    """Who may do what. Whatever no rule allows is refused.

    admin: everything; dev: read everything, write in the schema of their own name; guest: read the marts.
    The catalog `postgresql` is read only for all, and its pass-through function, which would run any statement as the
    catalog's own account, nobody's.
    """
    admins = "|".join(re.escape(account.name) for account in config.accounts if account.role == "admin")
    devs = [a.name for a in config.accounts if a.role == "dev" and a.name not in _SHARED_SCHEMAS]
    own = [{"user": re.escape(name), "catalog": CATALOG, "schema": re.escape(name)} for name in devs]
    lake, state = {"catalog": CATALOG}, {"catalog": STATE_CATALOG, "schema": STATE_SCHEMA}
    shown = "|".join(STATE_TABLES)
    return {
        "catalogs": [
            {"group": "admin|dev", "catalog": STATE_CATALOG, "allow": "read-only"},
            {"catalog": STATE_CATALOG, "allow": "none"},
            {"group": "admin", "allow": "all"},
            {"group": "dev", "catalog": CATALOG, "allow": "all"},
            {"group": "dev|guest", "catalog": f"{CATALOG}|system", "allow": "read-only"},
        ],
        "schemas": [{"group": "admin", "owner": True}, *({**rule, "owner": True} for rule in own), {"owner": False}],
        "tables": [
            {"group": "admin|dev", **state, "table": shown, "privileges": ["SELECT"]},
            {"catalog": STATE_CATALOG, "privileges": []},
            {"group": "admin", "privileges": _EVERYTHING},
            *({**rule, "privileges": _EVERYTHING} for rule in own),
            {"group": "dev", **lake, "privileges": ["SELECT", "GRANT_SELECT"]},
            {"group": "guest", **lake, "schema": MARTS, "privileges": ["SELECT"]},
            {"group": "dev|guest", "catalog": "system", "schema": "jdbc|metadata", "privileges": ["SELECT"]},
        ],
        "functions": [],
        "procedures": [{"group": "admin", "catalog": f"{CATALOG}|system", "privileges": ["EXECUTE"]}],
        "queries": [
            {"group": "admin", "allow": ["execute", "kill", "view"]},
            {"group": "dev|guest", "allow": ["execute"]},
        ],
        "system_session_properties": [
            {"group": "admin", "allow": True},
            {"group": "dev", "property": RUN_TIME, "allow": True},
            {"group": "dev|guest", "property": SCANNED, "allow": True},
            {"property": "query_max_.*", "allow": False},
            {"group": "dev|guest", "allow": True},
        ],
        "catalog_session_properties": [{"group": "admin", "allow": True}],
        "system_information": [{"user": admins, "allow": ["read", "write"]}],  # knows users only
    }


def resource_groups(config: TrinoConfig) -> dict[str, object]:
    """How many queries of each role run and wait. Who has no role waits for ever in no group: the query is refused."""
    weights = {"admin": 4, "dev": 2, "guest": 1}
    groups = [
        {
            "name": role,
            "softMemoryLimit": f"{limits.memory}%",
            "hardConcurrencyLimit": limits.at_once,
            "maxQueued": limits.waiting,
            "schedulingWeight": weights[role],
        }
        for role, limits in config.limits.roles.items()
    ]
    root = {
        "name": "lab",
        "softMemoryLimit": "100%",
        "hardConcurrencyLimit": config.limits.at_once,
        "maxQueued": sum(limits.waiting for limits in config.limits.roles.values()),
        "schedulingPolicy": "weighted",
        "subGroups": groups,
    }
    return {"rootGroups": [root], "selectors": [{"userGroup": role, "group": f"lab.{role}"} for role in ROLES]}


def session_properties(config: TrinoConfig) -> list[dict[str, Any]]:
    """What a query of each role may take, where that is not the server's own default.

    A role may only have a default that it is allowed to set: so a dev can raise these for a session, and a guest the
    bytes but not the time.
    """
    found = []
    for role, limits in config.limits.roles.items():
        made = {} if role == STRICTEST else {RUN_TIME: f"{limits.seconds}s"}
        if limits.scanned is not None:
            made[SCANNED] = f"{limits.scanned}B"
        found.append({"group": f"lab.{role}", "sessionProperties": made})
    return [one for one in found if one["sessionProperties"]]


def default_run_time(limits: TrinoLimits) -> dict[str, str]:
    """The server's own limit of time, which holds where no role's default is said."""
    return {"query.max-run-time": f"{limits.roles[STRICTEST].seconds}s"}


def server_properties(config: TrinoConfig, places: TrinoPlaces, keystore: str) -> dict[str, str]:
    """`config.properties`: one node that coordinates and works. Plain HTTP is for its own use: it takes no password."""
    limits = config.limits
    return {
        "coordinator": "true",
        "node-scheduler.include-coordinator": "true",
        "http-server.http.port": str(places.http),
        "http-server.https.enabled": "true",
        "http-server.https.port": str(places.https),
        "http-server.https.keystore.path": keystore,
        "http-server.authentication.type": "PASSWORD",
        "internal-communication.shared-secret": _secret("TRINO_SHARED_SECRET"),
        "discovery.uri": f"http://127.0.0.1:{places.http}",
        "query.max-memory": _bytes(limits.per_query),
        "query.max-memory-per-node": _bytes(limits.per_query),
        "memory.heap-headroom-per-node": _bytes(limits.spare),
        **default_run_time(limits),
        "catalog.management": "dynamic" if config.dynamic else "static",
        **({"catalog.store": "file"} if config.dynamic else {}),
        "web-ui.enabled": "true",
    }


def _bytes(count: int) -> str:
    return f"{count // MI}MB"


def node_properties(config: TrinoConfig, places: TrinoPlaces) -> dict[str, str]:
    """`node.properties`. `node.bind-ip` is what binds; the internal address alone does not."""
    bound = {"node.bind-ip": places.bind, "node.internal-address": places.bind} if places.bind else {}
    return {
        "node.environment": config.environment,
        "node.id": f"{config.environment}-1",
        "node.data-dir": places.data,
        **bound,
    }


def jvm_options(limits: TrinoLimits) -> tuple[str, ...]:
    """The JVM's options, one each. `jdk.incubator.vector` is left out: the wheel's Java has no such module."""
    return (
        f"-Xmx{limits.heap // MI}M",
        f"-Xms{min(limits.heap, 256 * MI) // MI}M",
        "-XX:+UseG1GC",
        "-XX:+ExplicitGCInvokesConcurrent",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:ReservedCodeCacheSize=256M",
        "-XX:PerMethodRecompilationCutoff=10000",
        "-XX:PerBytecodeRecompilationCutoff=10000",
        "-XX:+EnableDynamicAgentLoading",
        "-Djdk.attach.allowAttachSelf=true",
        "-Dfile.encoding=UTF-8",
        "-Duser.timezone=UTC",
        "--enable-native-access=ALL-UNNAMED",
        "--sun-misc-unsafe-memory-access=allow",
    )


LOG_LEVELS = {
    "Bootstrap": "WARN",
    "io.trino": "WARN",
    "io.trino.server.Server": "INFO",
    "io.airlift": "WARN",
    "org.eclipse.jetty": "WARN",
}


def render(config: TrinoConfig, places: TrinoPlaces) -> dict[str, str]:
    """Every file below `etc` but passwords and keystore, by its path there; text only, no secret in it."""
    etc = places.etc
    access = {"access-control.name": "file", "security.config-file": f"{etc}/rules.json"}
    groups = {"resource-groups.configuration-manager": "file"}
    session = {"session-property-config.configuration-manager": "file"}
    return {
        "config.properties": properties(server_properties(config, places, f"{etc}/trino.pem")),
        "node.properties": properties(node_properties(config, places)),
        "jvm.config": "".join(f"{option}\n" for option in jvm_options(config.limits)),
        "log.properties": properties(LOG_LEVELS),
        "access-control.properties": properties({**access, "security.refresh-period": REFRESH}),
        "rules.json": as_json(rules(config)),
        "group-provider.properties": properties(
            {"group-provider.name": "file", "file.group-file": f"{etc}/group.db", "file.refresh-period": REFRESH}
        ),
        "group.db": group_file(config),
        "password-authenticator.properties": properties(
            {
                "password-authenticator.name": "file",
                "file.password-file": f"{etc}/password.db",
                "file.refresh-period": REFRESH,
            }
        ),
        "resource-groups.properties": properties(
            {**groups, "resource-groups.config-file": f"{etc}/resource-groups.json"}
        ),
        "resource-groups.json": as_json(resource_groups(config)),
        "session-property-config.properties": properties(
            {**session, "session-property-manager.config-file": f"{etc}/session-properties.json"}
        ),
        "session-properties.json": as_json(session_properties(config)),
        **{f"catalog/{name}.properties": text for name, text in catalogs(config).items()},
    }


def properties(entries: Mapping[str, str]) -> str:
    """A Java properties file (java.util.Properties.load) of these entries, in their order."""
    return "".join(f"{name}={escape(value)}\n" for name, value in entries.items())


def escape(value: str) -> str:
    """A value as a properties file holds it: ASCII, backslashes doubled, a leading blank and line ends escaped."""
    made = []
    for unit in _utf16(value):
        letter = chr(unit)
        special = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(letter)
        made.append(special or (letter if 32 <= unit < 127 else f"\\u{unit:04x}"))
    text = "".join(made)
    return f"\\{text}" if text.startswith(" ") else text


def _utf16(value: str) -> Iterable[int]:
    data = value.encode("utf-16-be", "surrogatepass")
    return (int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))


def as_json(document: object) -> str:
    """JSON as it is read by people, keys in their order."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
