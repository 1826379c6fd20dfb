"""Which Secrets a workload needs, key by key: made up once, taken from the lab, copied from a provider, or composed.

Belongs here: pure planning. What a Secret holds now is handed in; what it should hold comes out. Not here: reading and
writing Secrets (layers/kubernetes/ground.py), or turning a reference into a secret (secrets/).
"""

from __future__ import annotations

import base64
import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from string import Template
from typing import TYPE_CHECKING

from homelab_platform.errors import HomelabError
from homelab_platform.lab.interfaces import OIDC, POSTGRESQL
from homelab_platform.plan.neighbours import clients_at, databases_at, provider_of, sso_facts

if TYPE_CHECKING:
    from homelab_platform.catalog.model import CatalogueEntry
    from homelab_platform.catalog.parts import SecretKey
    from homelab_platform.lab.resolved import ResolvedLab, ResolvedWorkload

DATABASE_PORT = 5432
LETTERS = string.ascii_letters + string.digits
Name = tuple[str, str]
"""Namespace and name of a Secret."""
Read = Callable[[Name], Mapping[str, str] | None]
"""What a Secret holds now; None when there is none."""
Reveal = Callable[[str], str]
"""The secret behind a reference of the lab file."""


@dataclass
class SecretPlan:
    """Secrets as they should be, in the order in which they can be written."""

    wanted: dict[Name, dict[str, str]] = field(default_factory=dict)

    def put(self, name: Name, values: Mapping[str, str]) -> None:
        """Add keys to a Secret."""
        self.wanted.setdefault(name, {}).update(values)


@dataclass(frozen=True)
class SecretPlanner:
    """The Secrets of one workload of one lab."""

    lab: ResolvedLab
    workload: ResolvedWorkload
    entry: CatalogueEntry | None
    read: Read
    reveal: Reveal

    def plan(self) -> SecretPlan:
        """All Secrets that have to be there before its pods start.

        Raises HomelabError for a reference that cannot be resolved and for a provider's Secret that is not there yet.
        """
        made = SecretPlan()
        self._of_clients(made)
        self._own_database(made)
        self._own_client(made)
        for name, keys in (self.entry.secrets if self.entry is not None else {}).items():
            self._declared(made, name, keys)
        return made

    @property
    def _space(self) -> str:
        return self.workload.namespace

    def _kept(self, name: Name, key: str, make: Callable[[], str]) -> str:
        return (self.read(name) or {}).get(key) or make()

    def _of_clients(self, made: SecretPlan) -> None:
        """As a provider: users of the databases, and secrets of the OpenID Connect clients, that others ask for."""
        if POSTGRESQL in self.workload.provides:
            for other in databases_at(self.lab, self.workload):
                made.put(*self._database_user(self.workload, other))
        if OIDC in self.workload.provides:
            name = (self._space, f"{self.workload.name}-clients")
            for other in clients_at(self.lab, self.workload):
                made.put(name, {other.name: self._kept(name, other.name, lambda: secrets.token_urlsafe(36))})

    def _database_user(self, provider: ResolvedWorkload, other: ResolvedWorkload) -> tuple[Name, dict[str, str]]:
        name = (provider.namespace, f"{provider.name}-{other.name}")
        user = str((other.database or {})["name"])
        return name, {"username": user, "password": self._kept(name, "password", lambda: secrets.token_urlsafe(24))}

    def _own_database(self, made: SecretPlan) -> None:
        provider = provider_of(self.lab, POSTGRESQL, self.workload)
        if self.workload.database is None or provider is None or provider.name not in self.workload.needs:
            return
        name, user = self._database_user(provider, self.workload)
        made.put(name, user)
        host = f"{provider.service_of(POSTGRESQL)}.{provider.namespace}.svc"
        facts = {"host": host, "port": str(DATABASE_PORT), "name": user["username"]}
        facts["uri"] = f"postgresql://{user['username']}:{user['password']}@{host}:{DATABASE_PORT}/{facts['name']}"
        made.put((self._space, f"{self.workload.name}-database"), {**user, **facts})

    def _own_client(self, made: SecretPlan) -> None:
        provider = provider_of(self.lab, OIDC, self.workload)
        if self.workload.sso != OIDC or self.workload.client is None:
            return
        own = (self._space, f"{self.workload.name}-oidc")
        if provider is None:
            reference = self.lab.identity.get("client")
            secret = self.reveal(str(reference)) if reference else self._kept(own, "client-secret", lambda: "")
        else:
            shared = (provider.namespace, f"{provider.name}-clients")
            secret = self._kept(shared, self.workload.name, lambda: secrets.token_urlsafe(36))
            made.put(shared, {**(self.read(shared) or {}), self.workload.name: secret})
        if not secret:
            raise HomelabError.of(
                f"workload {self.workload.name}",
                "its provider of sign-in is outside of the lab and gave no client secret",
                "Write identity: {client: sops:secrets/…#client}.",
            )
        made.put(own, {"client-id": self.workload.name, "client-secret": secret})

    def _declared(self, made: SecretPlan, secret: str, keys: Mapping[str, SecretKey]) -> None:
        name = (self._space, f"{self.workload.name}-{secret}")
        values: dict[str, str] = {}
        composed: dict[str, str] = {}
        for key, spec in keys.items():
            if spec.when is not None and spec.when != self.workload.sso:
                continue
            if spec.template is not None:
                composed[key] = spec.template
                continue
            value = self._value(name, key, spec)
            if value is not None:
                values[key] = value
        words = {key.replace("-", "_").replace(".", "_"): value for key, value in values.items()}
        for key, template in composed.items():
            values[key] = Template(template).substitute({**self._words(made), **words})
        if values:
            made.put(name, values)

    def _value(self, name: Name, key: str, spec: SecretKey) -> str | None:
        """None for a key whose reference the lab does not have: whoever needs it says so when it starts."""
        if spec.fixed is not None:
            return self._kept(name, key, lambda: str(spec.fixed))
        if spec.reference is not None:
            return self._referred(spec.reference)
        if spec.of is not None:
            return self._copied(spec.of)
        return self._kept(name, key, lambda: random_text(spec.form, spec.size))

    def _referred(self, path: str) -> str | None:
        first, *rest = path.split(".")
        found: object = self.workload if first == "workload" else getattr(self.lab, first, None)
        for part in rest:
            found = found.get(part) if isinstance(found, Mapping) else getattr(found, part, None)
        if found is None:
            return None
        text = str(found)
        return self.reveal(text) if text.startswith(("sops:", "env:", "file:", "vault:")) else text

    def _copied(self, source: str) -> str:
        interface, _, key = source.partition("/")
        provider = provider_of(self.lab, interface, self.workload)
        name = (provider.namespace, f"{provider.name}-{interface}") if provider is not None else ("", "")
        value = (self.read(name) or {}).get(key) if provider is not None else None
        if value is None:
            who = provider.name if provider is not None else f"a provider of {interface}"
            raise HomelabError.of(
                f"workload {self.workload.name}", f"{who} has no Secret {name[1]} with the key {key}",
                f"Apply workload/{who} first.",
            )  # fmt: skip
        return value

    def _words(self, made: SecretPlan) -> dict[str, str]:
        """What templates may name besides the keys of their own Secret."""
        database = made.wanted.get((self._space, f"{self.workload.name}-database"), {})
        client = made.wanted.get((self._space, f"{self.workload.name}-oidc"), {})
        words = {f"database_{key}": value for key, value in database.items()}
        words |= {key.replace("-", "_"): value for key, value in client.items()}
        return words | {"issuer": str(sso_facts(self.lab, self.workload).get("issuer") or "")}


def random_text(form: str, size: int) -> str:
    """`size` random bytes, written as hex, base64, or text that an address may hold; `letters` is that many of them."""
    if form == "hex":
        return secrets.token_hex(size)
    if form == "base64":
        return base64.b64encode(secrets.token_bytes(size)).decode()
    if form == "letters":
        return "".join(secrets.choice(LETTERS) for _ in range(size))
    return secrets.token_urlsafe(size)
