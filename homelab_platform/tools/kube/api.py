"""A cluster's API server: reading objects, asking what an object would become, writing it.

Belongs here: one typed client and its errors. Not here: what objects mean (drift.py), Helm's releases (releases.py).
Importing the `kubernetes` package costs a CPU-second, so it happens when a cluster is first spoken to.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.names import silent
from homelab_platform.paths import cache_home

MANAGER = "homelab"
TIMEOUT = (5, 30)
"""Seconds to connect, and to wait for an answer."""
PATIENCE = 60.0
"""Seconds for which a write goes on trying while the API server does not answer."""

SIGNED_WITHIN = 30.0

T = TypeVar("T")
Object = dict[str, Any]


class ClusterError(HomelabError):
    """The API server refused something; the problem names the object."""


class ClusterUnreachable(ClusterError, Unreachable):
    """Nothing answers at the API server's address."""


class Forbidden(ClusterError):
    """The kubeconfig's user may not do this, or is not known."""


class Rejected(ClusterError):
    """The API server does not take this object: a field or a value that it does not know."""


def name_of(manifest: Mapping[str, Any]) -> str:
    """`kind/name` of an object, with its namespace if it has one: what a message calls it."""
    meta = manifest.get("metadata") or {}
    where = f"{meta['namespace']}/" if meta.get("namespace") else ""
    return f"{manifest.get('kind', 'object')} {where}{meta.get('name', '?')}"


class Cluster:
    """One cluster through one kubeconfig file. `say` is told when the API server keeps us waiting."""

    def __init__(self, kubeconfig: Path, *, say: Callable[[str], None] = silent) -> None:
        self.kubeconfig = kubeconfig
        self._say = say

    @cached_property
    def _client(self) -> Any:
        import urllib3
        from kubernetes import client, config
        from kubernetes.config import ConfigException

        settings = client.Configuration()
        try:
            config.load_kube_config(str(self.kubeconfig), client_configuration=settings)
        except (ConfigException, OSError) as error:
            raise ClusterError.of(
                str(self.kubeconfig), f"cannot be used as a kubeconfig: {error}", "Fetch it anew from the first server."
            ) from None
        settings.retries = urllib3.Retry(total=0)
        settings.proxy = None
        return client.ApiClient(settings)

    @cached_property
    def _dynamic(self) -> Any:
        from kubernetes.dynamic import DynamicClient

        # what kinds the cluster knows; the client would keep it in /tmp, where anybody may put such a file
        known = cache_home() / "kubernetes" / f"{hashlib.sha256(self.address.encode()).hexdigest()[:16]}.json"
        with contextlib.suppress(OSError):
            known.parent.mkdir(parents=True, exist_ok=True)
        with self._explained("the API server"):
            return DynamicClient(self._client, cache_file=str(known))

    def forget_kinds(self) -> None:
        """Ask the cluster anew which kinds it knows: an operator may have brought some along."""
        with self._explained("the API server"):
            self._dynamic.resources.invalidate_cache()

    @property
    def address(self) -> str:
        """The API server's URL."""
        return str(self._client.configuration.host)

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turns the client's errors into ours; NotFound passes through as kubernetes.client.ApiException(404)."""
        import urllib3
        from kubernetes.client import ApiException

        try:
            yield
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ClusterUnreachable.of(
                what,
                f"the API server {self.address} does not answer ({_short(error)})",
                "Is the first server on, and k3s running there (`systemctl status k3s`)? It is tried again by itself.",
            ) from None
        except ApiException as error:
            if error.status == 404:
                raise
            raise self._refusal(error, what) from None

    def _refusal(self, error: Any, what: str) -> ClusterError:
        said = _message(error)
        if error.status in (401, 403):
            remedy = f"The user of {self.kubeconfig} lacks this right; use an admin's kubeconfig."
            return Forbidden.of(what, f"refused: {said}", remedy)
        if error.status in (400, 422):
            return Rejected.of(what, f"not taken: {said}", "Correct the value; nothing of this object was changed.")
        if error.status in (429, 500, 502, 503, 504):
            return ClusterUnreachable.of(what, f"the API server is not ready: {said}", "It is tried again by itself.")
        return ClusterError.of(what, f"the API server answered {error.status}: {said}")

    def patiently(self, action: Callable[[], T], patience: float = PATIENCE) -> T:
        """Do `action`, again and again for `patience` seconds while the API server does not answer."""
        deadline = time.monotonic() + patience
        delay = 0.5
        while True:
            try:
                return action()
            except ClusterUnreachable as error:
                if time.monotonic() + delay > deadline:
                    raise
                self._say(f"{error.problems[0].what}; trying again")
                time.sleep(delay)
                delay = min(delay * 2, 8.0)

    def _resource(self, manifest: Mapping[str, Any]) -> Any:
        from kubernetes.dynamic.exceptions import ResourceNotFoundError

        version, kind = str(manifest.get("apiVersion")), str(manifest.get("kind"))
        try:
            with self._explained(name_of(manifest)):
                return self._dynamic.resources.get(api_version=version, kind=kind)
        except ResourceNotFoundError:
            raise Rejected.of(
                name_of(manifest),
                f"the cluster knows no {kind} of {version}",
                "The operator that brings this kind comes first: see what the workload needs.",
            ) from None

    def get(self, manifest: Mapping[str, Any]) -> Object | None:
        """The live object of this kind and name; None when there is none."""
        from kubernetes.client import ApiException

        meta = manifest["metadata"]
        try:
            with self._explained(name_of(manifest)):
                found = self._resource(manifest).get(
                    name=meta["name"], namespace=meta.get("namespace"), _request_timeout=TIMEOUT
                )
        except ApiException:
            return None
        return _plain(found)

    def list(self, version: str, kind: str, namespace: str | None = None, labels: str = "") -> list[Object]:
        """All objects of a kind, in one namespace or in all. A namespace that does not exist holds none."""
        resource = self._resource({"apiVersion": version, "kind": kind, "metadata": {"name": "list"}})
        with self._explained(f"{kind}s of {namespace or 'the cluster'}"):
            found = resource.get(namespace=namespace, label_selector=labels, _request_timeout=TIMEOUT)
        return [{"apiVersion": version, "kind": kind, **item} for item in _plain(found).get("items", [])]

    def would_become(self, manifest: Object, manager: str = MANAGER) -> Object:
        """What the live object would be after `apply`, by the server's own reckoning; nothing is changed."""
        return self._apply(manifest, manager, dry_run="All")

    def apply(self, manifest: Object, manager: str = MANAGER) -> Object:
        """Server-side apply; fields that others set beside ours stay. Returns the live object."""
        return self.patiently(lambda: self._apply(manifest, manager, dry_run=None))

    def _apply(self, manifest: Object, manager: str, dry_run: str | None) -> Object:
        from kubernetes.client import ApiException

        meta = manifest["metadata"]
        extra = {"dry_run": dry_run} if dry_run else {}
        try:
            with self._explained(name_of(manifest)):
                done = self._resource(manifest).server_side_apply(
                    body=manifest,
                    name=meta["name"],
                    namespace=meta.get("namespace"),
                    field_manager=manager,
                    force_conflicts=True,
                    _request_timeout=TIMEOUT,
                    **extra,
                )
        except ApiException as error:
            raise ClusterError.of(
                name_of(manifest), f"its namespace does not exist: {_message(error)}", "Apply cluster/k3s first."
            ) from None
        return _plain(done)

    def replace(self, manifest: Object) -> None:
        """Write a whole object that was read before; refused by the server if somebody changed it in between."""
        meta = manifest["metadata"]
        with self._explained(name_of(manifest)):
            self._resource(manifest).replace(
                body=manifest, name=meta["name"], namespace=meta.get("namespace"), _request_timeout=TIMEOUT
            )

    def delete(self, manifest: Mapping[str, Any]) -> bool:
        """Delete an object and what it owns; False when it was gone already."""
        from kubernetes.client import ApiException

        meta = manifest["metadata"]

        def action() -> bool:
            try:
                with self._explained(name_of(manifest)):
                    self._resource(manifest).delete(
                        name=meta["name"], namespace=meta.get("namespace"), _request_timeout=TIMEOUT
                    )
            except ApiException:
                return False
            return True

        return self.patiently(action)

    def evict(self, namespace: str, name: str) -> str:
        """Ask a pod to leave its node, within what its disruption budgets allow (the eviction API).

        Returns why it may not leave now; empty when it was asked to, or is gone.
        """
        from kubernetes import client
        from kubernetes.client import ApiException

        eviction = client.V1Eviction(metadata=client.V1ObjectMeta(name=name, namespace=namespace))

        def ask() -> str:
            api = client.CoreV1Api(self._client)
            try:
                api.create_namespaced_pod_eviction(name, namespace, eviction, _request_timeout=TIMEOUT)
            except ApiException as error:
                if error.status == 404:
                    return ""
                if error.status in (429, 500):  # a budget says no; 500: more than one budget selects the pod
                    return _message(error)
                raise
            return ""

        with self._explained(f"Pod {namespace}/{name}"):
            return ask()

    def request(self, path: str) -> tuple[int, str]:
        """GET a path of the API server, also one that it proxies to a service: status and body.

        A service behind the proxy that does not answer gives 503 and the proxy's words, not an error.
        """
        from kubernetes.client import ApiException

        def ask() -> tuple[int, str]:
            try:
                answer = self._client.call_api(
                    path, "GET", auth_settings=["BearerToken"], _preload_content=False, _request_timeout=TIMEOUT
                )
            except ApiException as error:
                if error.status in (401, 403):
                    raise
                return int(error.status), str(error.body or error.reason or "")
            return int(answer.status), answer.data.decode(errors="replace")

        with self._explained(path):
            return ask()

    def authority(self) -> bytes:
        """The certificate (PEM) that vouches for the API server, as the kubeconfig has it."""
        return Path(self._client.configuration.ssl_ca_cert).read_bytes()

    def sign(self, name: str, request: bytes, seconds: int) -> bytes:
        """Have the cluster sign a request for a client certificate (PEM, as is what is returned).

        `name` is that of the request at the cluster, which is gone afterwards. Raises ClusterError when nothing signs.
        """
        from kubernetes import client

        api = client.CertificatesV1Api(self._client)
        body = {
            "metadata": {"generateName": f"{name}-"},
            "spec": {
                "request": base64.b64encode(request).decode(),
                "signerName": "kubernetes.io/kube-apiserver-client",
                "usages": ["client auth"],
                "expirationSeconds": seconds,
            },
        }
        approved = {"type": "Approved", "status": "True", "reason": "Homelab", "message": "the lab file names them"}
        with self._explained(f"CertificateSigningRequest {name}"):
            made = api.create_certificate_signing_request(body, _request_timeout=TIMEOUT)
            own = made.metadata.name
            try:
                made.status.conditions = [client.V1CertificateSigningRequestCondition(**approved)]
                api.replace_certificate_signing_request_approval(own, made, _request_timeout=TIMEOUT)
                deadline = time.monotonic() + SIGNED_WITHIN
                while time.monotonic() < deadline:
                    found = api.read_certificate_signing_request(own, _request_timeout=TIMEOUT).status.certificate
                    if found:
                        return base64.b64decode(found)
                    time.sleep(0.2)
            finally:
                api.delete_certificate_signing_request(own, _request_timeout=TIMEOUT)
        raise ClusterError.of(
            f"CertificateSigningRequest {name}",
            f"was not signed within {SIGNED_WITHIN:.0f} s",
            "The cluster's controller manager signs; is it running?",
        )

    def version(self) -> str:
        """The API server's version, `v1.33.13`."""
        from kubernetes import client

        with self._explained("the API server"):
            return str(client.VersionApi(self._client).get_code(_request_timeout=TIMEOUT).git_version)


def _plain(found: Any) -> Object:
    made: Object = found.to_dict()
    return made


def _short(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    text = str(reason or error)
    for sign, word in (
        ("refused", "connection refused"),
        ("timed out", "no answer in time"),
        ("unreachable", "no route"),
        ("certificate", "its certificate is not trusted"),
    ):
        if sign in text:
            return word
    return text.rpartition(": ")[2][:120]


def _message(error: Any) -> str:
    import json

    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)
