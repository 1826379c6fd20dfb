"""Rules about secrets: none in plain text, no default password, no unencrypted secrets file.

Belongs here: finding them in values, environment, settings, addresses and the files beside the lab. Messages never
repeat a secret, but for passwords that everybody tries first.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path as FilePath
from typing import Any

from homelab_platform.errors import HomelabError, Position, Problem
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.positions import Path
from homelab_platform.lab.rules.values import RESOLVED_WAYS, is_reference, leaves
from homelab_platform.lab.yaml_reader import read_yaml

DEFAULTS = {
    "admin", "administrator", "minioadmin", "changeme", "change-me", "changeit", "change_me", "password", "passw0rd",
    "raspberry", "root", "toor", "secret", "default", "test", "demo", "guest", "user", "pihole", "postgres",
    "nextcloud", "grafana", "prom-operator", "homelab", "letmein", "welcome", "qwerty", "12345", "123456", "1234",
    "12345678", "pass", "password1", "password123", "admin123", "insecure", "example", "authentik", "jellyfin", "vault",
    "dev-token",
}  # fmt: skip
_WORD = re.compile(
    r"passw(?:or)?d|passwort|passphrase|\bpwd\b|(?:^|[^a-z])pass$|secret|token|api[-_]?key|apikey|private[-_]?key|"
    r"access[-_]?key|auth[-_]?key|encryption[-_]?key|signing[-_]?key|client[-_]?key|credential|psk$",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(
    r"(?:name|names|ref|refs|path|file|dir|mount|key[-_]?name|url|uri|class|type|provider|policy|length|ttl|expir\w*|"
    r"lifetime|enabled|method|algorithm|hash|issuer|audience|existing[-_]?secret|secretkey(?:ref)?|namespace|store|"
    r"annotations?|labels?|version|format|mode|size|rotation|header|scopes?|limit|selector|id|port|seconds|count|image|repository|tag|domain)$|"
    r"^existing|^use[A-Z_]|^create|^automount|^imagepullsecrets|^serviceaccount",
    re.IGNORECASE,
)
_NAMES_A_KEY = re.compile(r"(?:password|token|secret|user|username|access)[-_]?key$", re.IGNORECASE)
_KNOWN_FORMS = (
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY")),
    ("a private age key", re.compile(r"AGE-SECRET-KEY-1[0-9A-Z]{20,}")),
    ("a GitHub token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})")),
    ("a GitLab token", re.compile(r"\bglpat-[A-Za-z0-9_-]{16,}")),
    ("an AWS access key", re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")),
    ("a Slack token", re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}")),
    ("a Tailscale key", re.compile(r"\btskey-[a-z]+-[A-Za-z0-9-]{10,}")),
    ("a Vault token", re.compile(r"\bhv[sb]\.[A-Za-z0-9_-]{20,}")),
    ("a Docker token", re.compile(r"\bdckr_pat_[A-Za-z0-9_-]{16,}")),
    ("an API key", re.compile(r"\bsk-[A-Za-z0-9_-]{20,}")),
    ("a signed token", re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+")),
    ("a webhook", re.compile(r"hooks\.slack\.com/services/|discord(?:app)?\.com/api/webhooks/")),
    ("an address with a password", re.compile(r"\b[a-z][a-z0-9+.-]*://[^/\s:@$]+:[^/\s:@$]+@")),
)
_TOKEN = re.compile(r"[A-Za-z0-9+/=_-]{24,}")
_PUBLIC = re.compile(
    r"^(?:ssh-|ecdsa-|sk-ssh|sk-ecdsa|age1|sha256|sha512|sha1|md5|\$argon2|\$2[aby]\$|\$6\$|\$y\$|pbkdf2)|@sha256:|://|"
    r"^[0-9a-f]{8}-[0-9a-f]{4}-|^[/.~]|\.(?:yaml|yml|json|svg|png|conf)$"
)
LEAST_ENTROPY = 4.2  # bits a character: base64 of random bytes has 5 and more, words and paths stay below
Finding = tuple[str, bool]  # what it is, whether it is a default password


def secret_in_plain_text(ctx: RuleContext) -> Iterable[Problem]:
    """What stands in the lab file ends in git, in backups and in the hands of whoever reads them. Default passwords are
    the first that anybody tries."""
    for path, value in _texts(ctx):
        if found := finding(path, value):
            what, default = found
            where = _owner(path)
            text = f"{where}{what} stands here in plain text" if not default else f"{where}{what}"
            remedy = f"Put it away and refer to it: {RESOLVED_WAYS}."
            yield ctx.problem(path, text, remedy, "secret-in-plain-text")


def _owner(path: Path) -> str:
    return f"{path[1]}: " if path[0] in ("workloads", "hosts", "streams") else ""


def finding(path: Path, value: object) -> Finding | None:
    """What kind of secret a value is; None when it is none."""
    key = next((str(part) for part in reversed(path) if isinstance(part, str)), "")
    if isinstance(value, bool) or value is None or is_reference(value):
        return None
    text = str(value).strip()
    for name, form in _KNOWN_FORMS if isinstance(value, str) else ():
        if form.search(text):
            return name, False
    if _asks_for_secret(key) and text:
        if text.lower() in DEFAULTS:
            return f"{key} is {text}, which everybody tries first", True
        if isinstance(value, str) and not _reads_like_name(key, text):
            return f"the value of {key}", False
        if isinstance(value, int) and re.search("passw|pin$|psk$", key, re.IGNORECASE):
            return f"the value of {key}", False
    return ("what looks like a secret", False) if isinstance(value, str) and _random(text) else None


def known_secret(text: str) -> str | None:
    """What kind of secret stands in a text, by the forms that keys and tokens have; None when none does."""
    return next((name for name, form in _KNOWN_FORMS if form.search(text)), None)


def _asks_for_secret(key: str) -> bool:
    return bool(_WORD.search(key)) and not _NO_SECRET.search(key)


def _reads_like_name(key: str, text: str) -> bool:
    """Whether the text names a key in a Kubernetes secret, or is a path: passwordKey: admin-password."""
    return bool(
        _NAMES_A_KEY.search(key) and re.fullmatch(r"[a-z0-9]+(?:[-_.][a-z0-9]+)*", text) and len(text) < 40
    ) or (text.startswith("/"))


def _random(text: str) -> bool:
    if not _TOKEN.fullmatch(text) or _PUBLIC.search(text):
        return False
    if not (re.search("[a-z]", text) and re.search("[A-Z]", text) and re.search("[0-9]", text)):
        return False
    size = len(text)
    return -sum(n / size * math.log2(n / size) for n in Counter(text).values()) >= LEAST_ENTROPY


def _texts(ctx: RuleContext) -> Iterator[tuple[Path, Any]]:
    """Everything where people write freely: values, environment, settings, flags and addresses."""
    lab = ctx.lab
    for name, workload in lab.workloads.items():
        path: Path = ("workloads", name)
        free = {"values": workload.values, "env": workload.env, **workload.settings}
        for tail, value in leaves(free):
            yield (*path, *tail), value
        for field in ("chart", "image", "description"):
            if text := getattr(workload, field):
                yield (*path, field), text
    for name, host in lab.hosts.items():
        free = {"services": host.services, "settings": host.settings, "nix": {"options": host.nix.options}}
        for tail, value in leaves(free):
            yield ("hosts", name, *tail), value
    yield from _addresses(ctx)
    yield from _of_cluster(ctx)


def _of_cluster(ctx: RuleContext) -> Iterator[tuple[Path, Any]]:
    cluster = ctx.lab.cluster
    if cluster:
        for key in ("server_flags", "agent_flags"):
            flags = getattr(cluster, key)
            for index, flag in enumerate(flags):
                before = flags[index - 1] if index else ""
                apart = before.startswith("-") and "=" not in before and not flag.startswith("-")
                yield from _flag(("cluster", key, index), f"{before}={flag}" if apart else flag)
        for kind in ("flux", "argocd"):
            if repository := getattr(cluster.deploy, kind):
                yield ("cluster", "deploy", kind, "repository"), repository.repository
        for name, registry in cluster.registries.items():
            yield ("cluster", "registries", name, "endpoint"), registry.endpoint


def _addresses(ctx: RuleContext) -> Iterator[tuple[Path, Any]]:
    lab = ctx.lab
    for name, stream in lab.streams.items():
        if stream.from_.rest:
            yield ("streams", name, "from", "rest", "url"), stream.from_.rest.url
    if lab.alerts.ntfy:
        yield ("alerts", "ntfy", "url"), lab.alerts.ntfy.url
    if lab.tooling.terraform and lab.tooling.terraform.state:
        yield ("tooling", "terraform", "state"), lab.tooling.terraform.state


def _flag(path: Path, flag: str) -> Iterator[tuple[Path, Any]]:
    name, equals, value = flag.partition("=")
    yield ((*path, name.lstrip("-")), value) if equals else (path, flag)


def secrets_file_in_plain_text(ctx: RuleContext) -> Iterable[Problem]:
    """A file that `sops:` leads to must be encrypted: one that is not goes to git as it is."""
    for file, path in _sops_files(ctx).items():
        place = ctx.folder / file
        if not place.is_file() or place.suffix not in (".yaml", ".yml"):
            continue
        try:
            data = read_yaml(place.read_bytes(), file).data
        except (OSError, HomelabError):
            continue  # encrypted files of another form; sops itself speaks of damaged ones
        if isinstance(data, dict) and data and "sops" not in data:
            what = f"{file} is not encrypted: its secrets stand there in plain text"
            yield ctx.problem(path, what, f"Run sops encrypt -i {file}, and change what was in git.", _PLAIN_FILE)


_PLAIN_FILE = "secrets-file-in-plain-text"


def _sops_files(ctx: RuleContext) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path, mark in ctx.positions.marks.items():
        if mark.raw and mark.raw.startswith("sops:") and "#" in mark.raw:
            file = mark.raw[5:].split("#")[0]
            if "\\" not in file and "\x00" not in file:
                found.setdefault(file, path)
    return found


_ASSIGNMENT = re.compile(r"^\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*\"([^\"]*)\"")


def tfvars_in_plain_text(ctx: RuleContext) -> Iterable[Problem]:
    """Terraform variables beside the lab go to git with it, and from there into Terraform's state."""
    for pattern in ("*.tfvars", "terraform/*.tfvars", "terraform/*/*.tfvars"):
        for file in sorted(ctx.folder.glob(pattern)):
            yield from _tfvars(file, file.relative_to(ctx.folder).as_posix())


def _tfvars(file: FilePath, name: str) -> Iterator[Problem]:
    try:
        lines = file.read_bytes()[: 1 << 20].decode("utf-8-sig").splitlines()
    except (OSError, ValueError):
        return
    for number, line in enumerate(lines, 1):
        match = _ASSIGNMENT.match(line)
        found = finding((match[1],), match[2]) if match and match[2] else None
        if match and found:
            what, default = found
            text = what if default else f"{what} stands here in plain text"
            remedy = f"Pass it as TF_VAR_{match[1]}, or keep it in SOPS, and take it out of git."
            yield Problem(Position(name, number, match.start(2)), text, remedy, "tfvars-in-plain-text")


def vault_dev_mode(ctx: RuleContext) -> Iterable[Problem]:
    """Vault in dev mode keeps everything in memory, unsealed, with a root token that anybody can guess."""
    for name, workload in ctx.lab.workloads.items():
        server = workload.values.get("server")
        dev = server.get("dev") if isinstance(server, dict) else None
        if isinstance(dev, dict) and dev.get("enabled") is True:
            path: Path = ("workloads", name, "values", "server", "dev", "enabled")
            what = f"{name} runs in dev mode: in memory, unsealed, with a known root token"
            yield ctx.problem(path, what, "Take server.dev out.", "vault-dev-mode")


def secrets_provider(ctx: RuleContext) -> Iterable[Problem]:
    """Who is to inject secrets must be there."""
    vault, known = ctx.lab.secrets.vault, set(ctx.lab.workloads)
    if vault is not None and vault not in known:
        what = f"secrets are injected by {vault}, which is not in the lab"
        yield ctx.problem(("secrets", "vault"), what, f"Add {vault}: to workloads.", "secrets-provider")
    unseal = ctx.lab.secrets.unseal
    if unseal.way == "static-key" and unseal.key is None:
        what = "Vault is to be opened with a static key, but the key is missing"
        yield ctx.problem(
            ("secrets", "unseal", "way"), what, "Add key: sops:secrets/vault.yaml#unseal.", "secrets-provider"
        )


def vault_reference(ctx: RuleContext) -> Iterable[Problem]:
    """A reference that nothing resolves would be found out when a service has no password."""
    for path, mark in ctx.positions.marks.items():
        if mark.raw and mark.raw.startswith("vault:") and is_reference(mark.raw):
            what = "vault: references are not resolved by this version"
            yield ctx.problem(path, what, f"Write {RESOLVED_WAYS}.", "vault-reference")
    if ctx.lab.secrets.backend == "vault":
        what = "secrets in Vault are not resolved by this version"
        yield ctx.problem(("secrets", "backend"), what, "Write backend: sops.", "vault-reference")


RULES = (
    vault_reference,
    secret_in_plain_text,
    secrets_file_in_plain_text,
    tfvars_in_plain_text,
    vault_dev_mode,
    secrets_provider,
)
