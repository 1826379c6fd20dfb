"""Certificates of the lab's Kubernetes: one authority, one certificate for each component, for a month.

Belongs here: making them and the kubeconfig files that name them. Not here: which components there are (nodes.py).
Names and groups: https://kubernetes.io/docs/setup/best-practices/certificates/.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE = datetime.timedelta(days=30)


@dataclass(frozen=True)
class Authority:
    """The certificate authority in `folder`."""

    folder: Path

    @property
    def certificate(self) -> Path:
        """What clients trust."""
        return self.folder / "ca.crt"

    def create(self) -> None:
        """Make the authority, and the key pair that service accounts are signed with."""
        self.folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("test-lab-ca")
        builder = _builder(name, name, key.public_key()).add_extension(x509.BasicConstraints(True, None), critical=True)
        _write(self.folder / "ca.key", _private(key))
        _write(self.certificate, builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        accounts = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        _write(self.folder / "accounts.key", _private(accounts))
        public = serialization.PublicFormat.SubjectPublicKeyInfo
        _write(self.folder / "accounts.pub", accounts.public_key().public_bytes(serialization.Encoding.PEM, public))

    def issue(self, file: str, user: str, group: str = "", names: Sequence[str] = ()) -> tuple[Path, Path]:
        """A certificate for `user` in `group` that also answers as `names` (addresses or DNS names), and its key."""
        ca = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        ca_key = serialization.load_pem_private_key((self.folder / "ca.key").read_bytes(), None)
        assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = _builder(_name(user, group), ca.subject, key.public_key()).add_extension(purposes, critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_answering(n) for n in names]), critical=False)
        certificate, private = self.folder / f"{file}.crt", self.folder / f"{file}.key"
        _write(certificate, builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        _write(private, _private(key))
        return certificate, private

    def kubeconfig(self, server: str, file: str, user: str, group: str = "", names: Sequence[str] = ()) -> Path:
        """A kubeconfig with a certificate of its own in it, so that the file may be copied anywhere."""
        certificate, private = self.issue(file, user, group, names)
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "test-lab",
                    "cluster": {"server": server, "certificate-authority-data": _base64(self.certificate)},
                }
            ],
            "users": [
                {
                    "name": user,
                    "user": {"client-certificate-data": _base64(certificate), "client-key-data": _base64(private)},
                }
            ],
            "contexts": [{"name": "test-lab", "context": {"cluster": "test-lab", "user": user}}],
            "current-context": "test-lab",
        }
        target = self.folder / f"{file}.kubeconfig"
        _write(target, yaml.safe_dump(content, sort_keys=False).encode())
        return target


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - datetime.timedelta(minutes=5),
        not_valid_after=now + LIFE,
    )


def _name(user: str, group: str = "") -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _answering(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _private(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _base64(file: Path) -> str:
    import base64

    return base64.b64encode(file.read_bytes()).decode()


def _write(file: Path, content: bytes) -> None:
    file.touch(mode=0o600)
    file.write_bytes(content)
