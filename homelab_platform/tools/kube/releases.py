"""Helm's releases: what is installed, read from the cluster itself, and installing, rolling back, taking away.

Belongs here: driving the `helm` command and reading its records. A release's record is a Secret that Helm keeps in the
release's namespace, gzip and base64 inside (https://helm.sh/docs/topics/advanced/#storage-backends): reading it costs
one request, where starting `helm` costs a third of a second.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from homelab_platform.errors import HomelabError
from homelab_platform.tools.kube.api import Cluster, ClusterUnreachable, Object, name_of

FINGERPRINT = "homelab-fingerprint"
PENDING = ("pending-install", "pending-upgrade", "pending-rollback")
WATCHED_EVERY = 2.0
"""Seconds between two looks at the pods of a release while helm waits for them."""
Say = Callable[[str], None]


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


def _read(secret: Object) -> Release:
    meta = secret["metadata"]
    record = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"]))))
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


def _owned(item: Object, record: Mapping[str, Any]) -> Object:
    """The object with the marks by which Helm knows it as this release's, which it adds after rendering."""
    meta = item["metadata"]
    labels = {**(meta.get("labels") or {}), "app.kubernetes.io/managed-by": "Helm"}
    marks = {"meta.helm.sh/release-name": record["name"], "meta.helm.sh/release-namespace": record["namespace"]}
    return {**item, "metadata": {**meta, "labels": labels, "annotations": {**(meta.get("annotations") or {}), **marks}}}


def objects_of(manifest: str, namespace: str) -> list[Object]:
    """The objects of a rendered manifest; those that live in a namespace and name none get the release's.

    Kinds that belong to no namespace are told by not being asked for one: the API server ignores it there.
    """
    import yaml

    found = [dict(item) for item in yaml.load_all(manifest, Loader=yaml.CSafeLoader) if item]
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
    """The `helm` command for one cluster. `chart` is a folder, or `name` of a repository or registry with `version`."""

    binary: Path
    cluster: Cluster

    def template(self, name: str, namespace: str, chart: str, values: Mapping[str, Any]) -> list[Object]:
        """The objects that an installation would write. Raises HomelabError with the chart's own complaint."""
        text = self._run(["template", name, chart, "--namespace", namespace, "--values", "-"], name, values)
        return objects_of(text, namespace)

    def upgrade(
        self,
        name: str,
        namespace: str,
        chart: str,
        values: Mapping[str, Any],
        fingerprint: str,
        *,
        version: str | None = None,
        timeout: float = 300,
        say: Say = lambda _text: None,
    ) -> None:
        """Install or upgrade, and wait until everything is up; if it does not come up, the former state is back.

        `timeout` in seconds. Raises ReleaseFailed that says what did not come up and why, as the pods tell.
        """
        self.settle(name, namespace, say)
        command = [
            "upgrade", name, chart, "--install", "--namespace", namespace, "--values", "-",
            "--labels", f"{FINGERPRINT}={label_of(fingerprint)}", "--wait", "--atomic",
            "--timeout", f"{int(timeout)}s", "--history-max", "5",
            *(["--version", version] if version else []),
        ]  # fmt: skip
        try:
            self._run(command, name, values, diagnose=lambda: why_not_ready(self.cluster, namespace, name))
        except ReleaseFailed as error:
            raise _with_way_out(error, first=not history(self.cluster, namespace, name)) from None

    def settle(self, name: str, namespace: str, say: Say = lambda _text: None) -> None:
        """Finish what a killed `helm` left half done: back to the last good revision, or away if there is none.

        A record that stays pending would block every later upgrade. Nobody else is at work: the caller holds the lock.
        """
        found = history(self.cluster, namespace, name)
        if not found or found[-1].status not in PENDING:
            return
        good = [release for release in found if release.status in ("deployed", "superseded")]
        if good:
            say(f"the last upgrade was cut off; going back to revision {good[-1].revision} first")
            self._run(["rollback", name, str(good[-1].revision), "--namespace", namespace, "--wait"], name)
        else:
            say("the first installation was cut off; clearing it away first")
            self._run(["uninstall", name, "--namespace", namespace, "--wait"], name)

    def rollback(self, name: str, namespace: str, revision: int = 0) -> None:
        """Back to a revision; 0 is the one before the newest."""
        self._run(["rollback", name, str(revision), "--namespace", namespace, "--wait"], name)

    def uninstall(self, name: str, namespace: str) -> None:
        """Take a release away. Volumes stay: charts mark theirs to be kept, and sets of pods never own theirs."""
        self._run(["uninstall", name, "--namespace", namespace, "--wait", "--ignore-not-found"], name)

    def _run(
        self,
        arguments: Sequence[str],
        name: str,
        values: Mapping[str, Any] | None = None,
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
            raise ReleaseFailed.of(f"workload {name}", _complaint(err), "Nothing was changed.")
        raise self._failure(name, _complaint(err), reasons, undone="--atomic" in arguments)

    def _failure(self, name: str, said: str, reasons: list[str], *, undone: bool) -> HomelabError:
        where = f"workload {name}"
        try:
            self.cluster.version()
        except ClusterUnreachable as error:
            what = f"{error.problems[0].what}, and stopped doing so while helm was at work"
            return ClusterUnreachable.of(where, what, "What is half done is settled first when it is applied again.")
        remedy = (
            "The former state is back. Correct the cause and apply again." if undone else "Nothing else was changed."
        )
        if "an error occurred while" in said:
            remedy = "Going back failed too. What is half done is settled first when it is applied again."
        # Helm only knows what is not ready; the pods know why
        return ReleaseFailed.of(where, f"did not come up: {'; '.join(reasons)}" if reasons else said, remedy)


def _watched(
    command: Sequence[str], text: str | None, environment: Mapping[str, str], diagnose: Callable[[], list[str]]
) -> tuple[int, str, str, list[str]]:
    """Run a command: exit code, output, errors, and the last reasons that `diagnose` gave while it ran.

    Helm takes what does not come up away before it ends, and with it the pods that say why.
    """
    reasons: list[str] = []
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=dict(environment)) as process:
        while True:
            try:
                out, err = process.communicate(text, timeout=WATCHED_EVERY)
                return process.returncode, out, err, reasons
            except subprocess.TimeoutExpired:
                text = None  # it was written at the first call
                reasons = diagnose() or reasons


def _complaint(stderr: str) -> str:
    """Helm's last words, without its advice and its blank lines."""
    lines = [
        line.strip() for line in stderr.splitlines() if line.strip() and not line.startswith(("WARNING", "Flag --"))
    ]
    errors = [line for line in lines if line.startswith("Error:")]
    text = (
        " ".join([*errors, *(line for line in lines if line.startswith("- at "))]) if errors else " ".join(lines[-3:])
    )
    return text.removeprefix("Error: ") or "helm failed without a word"


WAYS_OUT = (
    (("ErrImageNeverPull",), "Bring the image to that node (nothing here may pull it), or name another: image:."),
    (("ErrImagePull", "ImagePullBackOff"), "Correct image:, or look whether that node reaches the registry."),
    (("InvalidImageName",), "Correct image:; a name is registry/name:tag."),
    (("CreateContainerConfigError",), "Make the Secret or ConfigMap that it names, and apply again."),
    (("FailedMount",), "Make the Secret or volume that it waits for, and apply again."),
    (("OOMKilled",), "Give it more memory: memory:."),
    (("Unschedulable",), "Make room on a node, or let it run on another: on:."),
    (("waits for a volume",), "Look whether the cluster has that storage class: kubectl get storageclass."),
)
"""What a person does about each word that pods say of themselves."""


def _with_way_out(error: ReleaseFailed, *, first: bool) -> ReleaseFailed:
    """The same error with what to do about the first reason that there is a cure for; `first`: nothing was there."""
    problem = error.problems[0]
    if first:
        problem = replace(problem, remedy=problem.remedy.replace("The former state is back.", "Nothing of it is left."))
    way = next((way for words, way in WAYS_OUT if any(word in problem.what for word in words)), None)
    if way is None:
        return ReleaseFailed(problem)
    remedy = problem.remedy.replace("Correct the cause and apply again.", way)
    return ReleaseFailed.of(problem.where, problem.what, remedy)


def why_not_ready(cluster: Cluster, namespace: str, name: str) -> list[str]:
    """What the pods of a release say of themselves when they are not ready: image, crash, no room, no volume."""
    try:
        pods = cluster.list("v1", "Pod", namespace, f"app.kubernetes.io/instance={name}")
        claims = cluster.list("v1", "PersistentVolumeClaim", namespace, f"app.kubernetes.io/instance={name}")
    except HomelabError:
        return []
    found = [
        f"{name_of(claim)} waits for a volume of class {claim['spec'].get('storageClassName', 'default')}"
        for claim in claims
        if (claim.get("status") or {}).get("phase") == "Pending"
    ]
    for pod in pods:
        node = (pod.get("spec") or {}).get("nodeName")
        reasons = _pod_reasons(pod) or _complaints(cluster, pod)
        found += [f"{name_of(pod)}{f' on {node}' if node else ''}: {reason}" for reason in reasons]
    return sorted(set(found))[:6]


def _complaints(cluster: Cluster, pod: Object) -> list[str]:
    """The last warning about a pod that is not ready and says nothing itself: a probe that fails, a missing Secret."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    if any(entry.get("type") == "Ready" and entry.get("status") == "True" for entry in conditions):
        return []
    try:
        events = cluster.list("v1", "Event", pod["metadata"]["namespace"])
    except HomelabError:
        return []
    about = [
        event
        for event in events
        if event.get("type") == "Warning" and (event.get("involvedObject") or {}).get("uid") == pod["metadata"]["uid"]
    ]
    about.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    return [f"{event.get('reason', '')}: {' '.join(str(event.get('message', '')).split())}" for event in about[-1:]]


def _pod_reasons(pod: Object) -> list[str]:
    status = pod.get("status") or {}
    found = [
        f"Unschedulable: {condition.get('message', 'no node takes it')}"
        for condition in status.get("conditions") or ()
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False"
    ]
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        found += _container_reasons(container)
    return found


def _container_reasons(container: Object) -> list[str]:
    """Why a container does not run, or ran and ended; nothing of one that runs or is about to start."""
    state = container.get("state") or {}
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    waiting = state.get("waiting") or {}
    reason = waiting.get("reason")
    if reason in ("ContainerCreating", "PodInitializing") and not ended:
        return []
    code = f"exit code {ended['exitCode']}" if "exitCode" in ended else ""
    how = f"{ended['reason']}, {code}" if ended.get("reason", "Error") not in ("Error", "Completed") else code
    words = [line.strip() for line in str(ended.get("message") or "").splitlines() if line.strip()]
    how += f"; its last words: {words[-1][:200]}" if how and words else ""
    if "running" in state:
        return []
    if reason and reason not in ("ContainerCreating", "PodInitializing"):
        message = "" if reason == "CrashLoopBackOff" else waiting.get("message", "")
        return [f"{reason}{f' ({how})' if how else ''}{': ' + message if message else ''}"]
    return [f"it ended ({how})"] if how else []
