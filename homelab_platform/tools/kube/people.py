"""A person's own way into the cluster: a kubeconfig with a client certificate that says who they are and their role.

Belongs here: asking the cluster to sign such a certificate. Not here: what a role may do (operations/adapters/
layers/kubernetes/objects.py), or who has which (the lab file).
Source: https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/
"""

from __future__ import annotations

import base64
import re
from datetime import timedelta

from homelab_platform.errors import HomelabError
from homelab_platform.tools.kube.api import Cluster

GROUP = "homelab"
"""The certificate's organisation is `homelab:<role>`, which is the group that roles are bound to."""
VALID = timedelta(days=90)
"""A cluster cannot take a certificate back: who leaves loses theirs when it ends."""
SHORTEST = timedelta(minutes=10)
"""Kubernetes signs for no shorter time."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


def kubeconfig_for(cluster: Cluster, person: str, role: str, valid: timedelta = VALID) -> str:
    """The text of a kubeconfig for `person` (the lab's name of them) with the rights of `role`; it holds their key.

    The key is made here and goes nowhere else. Raises HomelabError when the cluster does not sign.
    """
    if not _NAME.fullmatch(person):
        raise HomelabError.of(f"person {person}", "is no name that a certificate takes", "Letters, digits, - and .")
    if valid < SHORTEST:
        raise HomelabError.of(f"person {person}", f"a certificate for {valid} is too short", f"At least {SHORTEST}.")
    key, request = _request(person, f"{GROUP}:{role}")
    certificate = cluster.sign(f"homelab-{person}", request, int(valid.total_seconds()))
    return _written(cluster, person, key, certificate)


def _request(person: str, group: str) -> tuple[bytes, bytes]:
    """A new key, and the request for a certificate of it, both as PEM (RFC 2986)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = [
        x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, group),
        x509.NameAttribute(x509.NameOID.COMMON_NAME, person),
    ]
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(name)).sign(key, hashes.SHA256())
    encoding = serialization.Encoding.PEM
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(encoding, form, none), request.public_bytes(encoding)


def _written(cluster: Cluster, person: str, key: bytes, certificate: bytes) -> str:
    import yaml

    def text(data: bytes) -> str:
        return base64.b64encode(data).decode()

    place = {"server": cluster.address, "certificate-authority-data": text(cluster.authority())}
    user = {"client-certificate-data": text(certificate), "client-key-data": text(key)}
    return str(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "homelab", "cluster": place}],
                "users": [{"name": person, "user": user}],
                "contexts": [{"name": "homelab", "context": {"cluster": "homelab", "user": person}}],
                "current-context": "homelab",
            },
            sort_keys=False,
        )
    )
