"""Helm's releases: what is installed, read from the cluster itself, and installing, rolling back, taking away.

Belongs here: driving the `helm` command and reading its records. A release's record is a Secret that Helm keeps in the
release's namespace, gzip and base64 inside (https://helm.sh/docs/topics/advanced/#storage-backends): reading it costs
one request, where starting `helm` costs a third of a second.
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from homelab_platform.errors import HomelabError
from homelab_platform.names import Say, silent
from homelab_platform.tools.kube import pods, records, volumes
from homelab_platform.tools.kube.api import Cluster, ClusterUnreachable, Object

FINGERPRINT = "homelab-fingerprint"
NO_WAY_BACK = "an error occurred while"
"""Words of helm: the upgrade failed, and so did going back."""
PENDING = ("pending-install", "pending-upgrade", "pending-rollback")
LEAVING = "uninstalling"
FORCE = "--force-conflicts"
"""Helm's word prevails: what was put back once (drift.py) is owned by us too, and a conflict would block every later
upgrade, and the way back."""
WATCHED_EVERY = 2.0
"""Seconds between two looks at the pods of a release while helm waits for them."""


class ReleaseFailed(HomelabError):
    """Helm could not bring a release to where it should be; the problem names the workload and what did not come up."""


@dataclass(frozen=True)
class Release:
    """One revision of a release. `values` are those that it was installed with, `manifest` its objects."""

    name: str
    namespace: str
    revision: int
    status: str
    chart: str
    fingerprint: str
    description: str = ""
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    manifest: tuple[Object, ...] = field(default=(), repr=False)


def label_of(fingerprint: str) -> str:
    """A fingerprint (SHA-256 in hex) as a label's value, which has room for 63 characters."""
    return base64.b32encode(bytes.fromhex(fingerprint)).decode().rstrip("=").lower()


def fingerprint_of(label: str) -> str:
    """The fingerprint that `label_of` made a label of; empty for a label that is none of ours."""
    try:
        return base64.b32decode(label.upper() + "=" * (-len(label) % 8)).hex()
    except ValueError:
        return ""


def history(cluster: Cluster, namespace: str, name: str) -> list[Release]:
    """The revisions of a release that Helm remembers, oldest first; empty when it was never installed."""
    secrets = cluster.list("v1", "Secret", namespace, f"owner=helm,name={name}")
    return sorted((_read(secret) for secret in secrets), key=lambda release: release.revision)


def current(cluster: Cluster, namespace: str, name: str) -> Release | None:
    """The newest revision of a release, whatever its status; None when it was never installed."""
    found = history(cluster, namespace, name)
    return found[-1] if found else None


def disown(cluster: Cluster, namespace: str, name: str) -> None:
    """Take the fingerprint off the newest revision of a release, so that it counts as none that was applied."""
    newest = current(cluster, namespace, name)
    if newest is None:
        return
    record = {"name": f"sh.helm.release.v1.{name}.v{newest.revision}", "namespace": namespace}
    secret = cluster.get({"apiVersion": "v1", "kind": "Secret", "metadata": record})
    if secret is not None and (secret["metadata"].get("labels") or {}).pop(FINGERPRINT, None):
        cluster.replace(secret)


def _read(secret: Object) -> Release:
    meta = secret["metadata"]
    record = records.unpacked(secret)
    chart = record["chart"]["metadata"]
    return Release(
        record["name"],
        record["namespace"],
        int(record["version"]),
        record["info"]["status"],
        f"{chart['name']}-{chart['version']}",
        (meta.get("labels") or {}).get(FINGERPRINT, ""),
        record["info"].get("description", ""),
        record.get("config") or {},
        tuple(_owned(item, record) for item in objects_of(record.get("manifest") or "", record["namespace"])),
    )


def _owned(item: Object, record: Mapping[str, object]) -> Object:
    """The object with the marks by which Helm knows it as this release's, which it adds after rendering."""
    meta = item["metadata"]
    labels = {**(meta.get("labels") or {}), "app.kubernetes.io/managed-by": "Helm"}
    marks = {"meta.helm.sh/release-name": record["name"], "meta.helm.sh/release-namespace": record["namespace"]}
    return {**item, "metadata": {**meta, "labels": labels, "annotations": {**(meta.get("annotations") or {}), **marks}}}


def objects_of(manifest: str, namespace: str) -> list[Object]:
    """The objects of a rendered manifest; those that live in a namespace and name none get the release's.

    Kinds that belong to no namespace are told by not being asked for one: the API server ignores it there.
    """
    from homelab_platform.wire.go_yaml import documents

    found = [dict(item) for item in documents(manifest)]
    for item in found:
        item["metadata"] = {**item["metadata"]}
        if item["kind"] not in _CLUSTER_WIDE:
            item["metadata"].setdefault("namespace", namespace)
    return found


_CLUSTER_WIDE = frozenset(
    {"Namespace", "Node", "PersistentVolume", "StorageClass", "ClusterRole", "ClusterRoleBinding", "PriorityClass",
     "CustomResourceDefinition", "IngressClass", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration",
     "APIService", "CSIDriver", "RuntimeClass", "ClusterIssuer", "ValidatingAdmissionPolicy"}
)  # fmt: skip


@dataclass(frozen=True)
class Helm:
    """The `helm` command for one cluster.

    `chart` is a folder, `oci://registry/chart`, `https://repository/chart` or the address of a packed chart.
    """

    binary: Path
    cluster: Cluster

    def template(
        self,
        name: str,
        namespace: str,
        chart: str,
        values: Mapping[str, object],
        *,
        version: str | None = None,
        crds: bool = False,
    ) -> list[Object]:
        """The objects that an installation would write, with `crds` also the kinds that it brings along.

        Raises HomelabError with the chart's own complaint.
        """
        words = ["template", name, *_chart(chart, version), "--namespace", namespace, "--values", "-"]
        words += ["--include-crds"] if crds else []
        text = self._run(words, name, values)
        return objects_of(text, namespace)

    def upgrade(
        self,
        name: str,
        namespace: str,
        chart: str,
        values: Mapping[str, object],
        fingerprint: str,
        *,
        version: str | None = None,
        timeout: float = 300,
        say: Say = silent,
    ) -> None:
        """Install or upgrade, and wait until everything is up; if it does not come up, the former state is back.

        `timeout` in seconds; it is not waited out where the pods say that waiting does not help (pods.HOPELESS).
        Raises ReleaseFailed that says what did not come up and why, as the pods tell.
        """
        self.settle(name, namespace, say)
        first = not history(self.cluster, namespace, name)
        command = [
            "upgrade", name, *_chart(chart, version), "--install", "--namespace", namespace, "--values", "-",
            "--labels", f"{FINGERPRINT}={label_of(fingerprint)}", "--wait", *([] if first else ["--atomic"]),
            "--timeout", f"{int(timeout)}s", "--history-max", "5", FORCE,
        ]  # fmt: skip
        try:
            self._run(command, name, values, diagnose=lambda: self._look(name, namespace))
        except ReleaseFailed as error:
            if first:
                # not left to helm, which would take volumes along that an earlier release of this name has left
                self.uninstall(name, namespace)
            raise _with_way_out(error, first=first) from None
        volumes.keep_live(self.cluster, history(self.cluster, namespace, name)[-1].manifest)

    def settle(self, name: str, namespace: str, say: Say = silent) -> None:
        """Finish what a killed `helm` left half done: back to the last good revision, or away if there is none.

        A record that stays pending would block every later upgrade. Nobody else is at work: the caller holds the lock.
        """
        found = history(self.cluster, namespace, name)
        good = [release for release in found if release.status in ("deployed", "superseded")]
        if not found or (good and found[-1].status not in (*PENDING, LEAVING)):
            return
        if found[-1].status == LEAVING:
            say("its removal was cut off; finishing that first")
            self.uninstall(name, namespace)
        elif good:
            say(f"the last upgrade was cut off; going back to revision {good[-1].revision} first")
            self.rollback(name, namespace, good[-1].revision)
        else:
            say("the first installation was cut off or failed; clearing it away first")
            self.uninstall(name, namespace)

    def rollback(self, name: str, namespace: str, revision: int = 0) -> None:
        """Back to a revision; 0 is the one before the newest."""

        def look() -> list[str]:
            pods.free_stuck(self.cluster, namespace, name)
            return []  # there is nowhere further back to go, so nothing is hopeless

        self._run(["rollback", name, str(revision), "--namespace", namespace, "--wait", FORCE], name, diagnose=look)

    def _look(self, name: str, namespace: str) -> list[str]:
        """Why its pods are not ready, while helm waits for them; what only a deletion helps out of is helped."""
        pods.free_stuck(self.cluster, namespace, name)
        return pods.why_not_ready(self.cluster, namespace, name)

    def uninstall(self, name: str, namespace: str) -> None:
        """Take a release away. Its volumes stay, whatever its chart says of them."""
        found = current(self.cluster, namespace, name)
        if found is not None:
            volumes.keep_live(self.cluster, found.manifest)
            volumes.keep_in_records(self.cluster, namespace, name)
        self._run(["uninstall", name, "--namespace", namespace, "--wait", "--ignore-not-found"], name)

    def _run(
        self,
        arguments: Sequence[str],
        name: str,
        values: Mapping[str, object] | None = None,
        diagnose: Callable[[], list[str]] = list,
    ) -> str:
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME") if key in os.environ}
        environment = {**kept, "KUBECONFIG": str(self.cluster.kubeconfig), "HELM_NO_PLUGINS": "1"}
        text = json.dumps(values) if values is not None else None
        try:
            code, out, err, reasons = _watched([str(self.binary), *arguments], text, environment, diagnose)
        except OSError as error:
            raise HomelabError.of(
                str(self.binary), f"helm cannot be run: {error.strerror}", "`make servers` installs it."
            ) from None
        if code == 0:
            return out
        if arguments[0] == "template":  # which asks no cluster
            raise ReleaseFailed.of(f"workload {name}", complaint(err), "Nothing was changed.")
        raise self._failure(name, complaint(err), reasons, undone=arguments[0] == "upgrade")

    def _failure(self, name: str, said: str, reasons: list[str], *, undone: bool) -> HomelabError:
        where = f"workload {name}"
        try:
            self.cluster.version()
        except ClusterUnreachable as error:
            what = f"{error.problems[0].what}, and stopped doing so while helm was at work"
            return ClusterUnreachable.of(where, what, "What is half done is settled first when it is applied again.")
        remedy = "Nothing else was changed."
        if undone:
            remedy = "The former state is back. Correct the cause and apply again."
        if NO_WAY_BACK in said:
            remedy = "Going back failed too. What is half done is settled first when it is applied again."
        # Helm only knows what is not ready; the pods know why
        return ReleaseFailed.of(where, f"did not come up: {'; '.join(reasons)}" if reasons else said, remedy)


def _chart(chart: str, version: str | None) -> list[str]:
    """A chart as helm's command line takes it: of an HTTP repository's address the last part is the chart's name."""
    repository, _, name = chart.rpartition("/")
    listed = chart.startswith(("https://", "http://")) and not chart.endswith((".tgz", ".tar.gz"))
    words = [name, "--repo", repository] if listed else [chart]
    return [*words, "--version", version] if version else words


def _watched(
    command: Sequence[str], text: str | None, environment: Mapping[str, str], diagnose: Callable[[], list[str]]
) -> tuple[int, str, str, list[str]]:
    """Run a command: exit code, output, errors, and the last reasons that `diagnose` gave while it ran.

    Helm takes what does not come up away before it ends, and with it the pods that say why. It is interrupted, and then
    goes back by itself, as soon as there is no hope that they come up.
    """
    reasons: list[str] = []
    hope = pods.Hope()
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=dict(environment)) as process:
        while True:
            try:
                out, err = process.communicate(text, timeout=WATCHED_EVERY)
                return process.returncode, out, err, reasons
            except subprocess.TimeoutExpired:
                text = None  # it was written at the first call
                now = diagnose()
                if hope.gone(now):
                    process.send_signal(signal.SIGINT)
                    return _ended(process, now, diagnose)
                reasons = now or reasons


def _ended(
    process: subprocess.Popen[str], reasons: list[str], look: Callable[[], list[str]]
) -> tuple[int, str, str, list[str]]:
    """Wait for an interrupted helm to go back and end, looking after the pods that it waits for; a second interruption
    would stop it from going back."""
    while True:
        try:
            out, err = process.communicate(timeout=WATCHED_EVERY)
            return process.returncode or 1, out, err, reasons
        except subprocess.TimeoutExpired:
            look()


_IMMUTABLE = re.compile(
    r'(?P<kind>\w+)[.\w]* \\?"(?P<name>[^"\\]+)\\?" is invalid: (?P<path>[\w.\[\]]+): Invalid value: .*'
    r"field is immutable"
)
"""What the API server answers to a changed Job; the value in between is a page of Go's own words."""


def complaint(stderr: str) -> str:
    """Helm's last words, without its advice and its blank lines."""
    lines = [
        line.strip() for line in stderr.splitlines() if line.strip() and not line.startswith(("WARNING", "Flag --"))
    ]
    fixed = _IMMUTABLE.search(" ".join(lines))
    if fixed:
        also = f"; {NO_WAY_BACK} going back" if NO_WAY_BACK in stderr else ""
        changed = f"{fixed['kind']} {fixed['name']}: {fixed['path']} changed"
        return f"{changed}, which Kubernetes never changes (field is immutable){also}"
    errors = [line for line in lines if line.startswith("Error:")]
    text = (
        " ".join([*errors, *(line for line in lines if line.startswith("- at "))]) if errors else " ".join(lines[-3:])
    )
    return text.removeprefix("Error: ") or "helm failed without a word"


def _with_way_out(error: ReleaseFailed, *, first: bool) -> ReleaseFailed:
    """The same error with what to do about the first reason that there is a cure for; `first`: nothing was there."""
    problem = error.problems[0]
    if first:
        problem = replace(problem, remedy=problem.remedy.replace("The former state is back.", "Nothing of it is left."))
    way = pods.way_out(problem.what)
    if way is None:
        return ReleaseFailed(problem)
    remedy = problem.remedy.replace("Correct the cause and apply again.", way)
    return ReleaseFailed.of(problem.where, problem.what, remedy)
