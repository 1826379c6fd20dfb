"""The lab file's `people:`, `identity:` and `secrets:` sections: who may do what, and how they sign in.

Belongs here: accounts, roles, single sign-on and where secrets are kept; never a secret itself.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from homelab_platform.lab import quantities as q
from homelab_platform.lab.model.fields import Domain, Many, Name, Named, Node, Secret

Role = Literal["admin", "dev", "guest"]
_RECIPIENT = "^(age1[0-9a-z]+|ssh-(ed25519|rsa) .+)$"


def _recipient(value: object) -> str:
    """A public key that SOPS encrypts for. A private one is refused and never repeated in the message."""
    text = value.strip() if isinstance(value, str) else ""
    if text.upper().startswith("AGE-SECRET-KEY") or "PRIVATE KEY" in text:
        remedy = "Write the public one (age1…), and make a new pair: this one is known now."
        raise q.Bad("a private key stands here", remedy)
    if not re.match(_RECIPIENT, text):
        raise q.Bad("this is not an age recipient", "Write the public key: age1… or ssh-ed25519 ….")
    return text


Recipient = Annotated[str, BeforeValidator(_recipient), WithJsonSchema({"type": "string", "pattern": _RECIPIENT})]


class Person(Node):
    """A person, or an account that a machine uses (kind: build, deploy)."""

    role: Role = Field(description="admin: everything; dev: deploy, notebooks, SQL; guest: read-only dashboards.")
    ssh: Many[str] = Field((), description="Public keys: files beside the lab file, or the keys themselves.")
    name: str | None = Field(None, description="Full name.")
    email: str | None = Field(None, description="E-mail address.")
    groups: Many[Name] = Field((), description="Further Unix groups.", examples=[["dialout", "video"]])
    hosts: Many[Name] | None = Field(None, description="Hosts with a login; by role when not said.")
    kind: Literal["person", "build", "deploy"] = Field(
        "person", description="build: may only serve remote builds; deploy: sudo without a password, for deployments."
    )
    password: Secret | None = Field(None, description="Reference to a hashed password.")
    shell: Literal["bash", "zsh", "fish", "nologin"] = Field("bash", description="Login shell.")
    gpg: str | None = Field(None, description="Fingerprint of a GPG key.")
    mfa: bool = Field(False, description="Whether a second factor is asked for.")


class RoleRights(Node):
    """What a role may reach beyond the default."""

    workloads: Many[Name] = Field((), description="Workloads it may open.")
    namespaces: Many[Name] = Field((), description="Kubernetes namespaces it may change.")
    ssh: bool | None = Field(None, description="Whether it may log in to hosts.")
    mfa: bool = Field(False, description="Whether it needs a second factor.")


class Ldap(Node):
    """A directory for applications that know no OIDC."""

    base: str | None = Field(None, description="Base DN; made of the domain when not said.")
    tls: bool = Field(True, description="LDAPS.")
    host: Name | None = Field(None, description="Host or workload that serves it; the identity provider when not said.")


class Identity(Node):
    """How people sign in, or in short the provider's name."""

    short: ClassVar[str | None] = "provider"
    provider: Literal["none", "authentik", "oauth2-proxy", "keycloak", "kanidm", "external"] = Field(
        "none", description="Workload that people sign in to."
    )
    issuer: str | None = Field(None, description="OIDC issuer, where the provider is outside the lab.")
    client: Secret | None = Field(None, description="Reference to the client secret at an outside issuer.")
    gateway: Name | None = Field(None, description="API gateway that checks tokens, such as krakend.")
    ldap: Ldap | None = Field(None, description="Directory beside OIDC.")
    roles: dict[Role, RoleRights] = Field({}, description="What a role may reach beyond the default.")
    break_glass: Secret | None = Field(None, description="Reference to the password of the emergency account.")
    domain: Domain | None = Field(None, description="Name of the provider; auth.<domain> when not said.")


class Unseal(Node):
    """How Vault or OpenBao opens after a restart."""

    way: Literal["manual", "static-key", "transit", "cloud"] = Field("manual", description="Who gives the key.")
    key: Secret | None = Field(None, description="Reference to the unseal key.")


class Secrets(Node):
    """Where secrets are kept. They are written as references everywhere else."""

    backend: Literal["sops", "env", "file", "vault"] = Field("sops", description="Where references lead by default.")
    recipients: Many[Recipient] = Field((), description="age public keys that may read all SOPS files.")
    recovery: Recipient | None = Field(None, description="age public key of the recovery key that lies on paper.")
    host_keys: bool = Field(True, description="Whether each host may read its own secrets with its SSH host key.")
    nix: Literal["sops-nix", "agenix", "secrix"] = Field("sops-nix", description="Module that NixOS hosts use.")
    vault: Literal["vault", "openbao"] | None = Field(None, description="Workload that injects secrets into pods.")
    unseal: Unseal = Field(Unseal.model_construct(), description="How Vault or OpenBao opens after a restart.")
    named: Named[Secret] = Field({}, description="References by name, for values: ${secrets.NAME}.")
