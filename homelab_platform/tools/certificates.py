"""Certificates of the platform's own: an authority that stays, and server certificates that it renews.

Belongs here: making and renewing them. Not here: who trusts them (servers/trino.py, servers/seaweedfs.py).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from homelab_platform.files import write_whole

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

AUTHORITY_FOR, SERVER_FOR = timedelta(days=3650), timedelta(days=397)
RENEW_BEFORE = timedelta(days=60)
AUTHORITY, AUTHORITY_KEY = "ca.pem", "ca.key"


def ensure_certificate(
    folder: Path, names: Collection[str], keystore: Path, *, subject: str, client: bool = False
) -> Path:
    """Have a valid certificate for `names` (DNS names and addresses) in `keystore`; returns the authority's file.

    `subject` is its common name; with `client` its holder may also prove itself to servers with it. `keystore` is one
    PEM file of key, certificate and authority.

    The authority is made once and stays, so that clients who trust it keep doing so; its key never leaves `folder`.
    The server's certificate is renewed once it has less than sixty days left, or the names change.
    """
    authority_file, key_file = folder / AUTHORITY, folder / AUTHORITY_KEY
    authority, key = _load_authority(authority_file, key_file) or _make_authority(authority_file, key_file)
    if not _is_good(keystore, authority, names):
        write_whole(keystore, _make_server(authority, key, sorted(names), subject, client), mode=0o600)
    return authority_file


def _load_authority(file: Path, key_file: Path) -> tuple[x509.Certificate, EllipticCurvePrivateKey] | None:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        found = x509.load_pem_x509_certificate(file.read_bytes())
        key = load_pem_private_key(key_file.read_bytes(), None)
    except (FileNotFoundError, ValueError):
        return None
    soon = datetime.now(UTC) + RENEW_BEFORE
    return (found, key) if isinstance(key, EllipticCurvePrivateKey) and found.not_valid_after_utc > soon else None


def _make_authority(file: Path, key_file: Path) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("homelab authority")
    builder = _builder(name, name, AUTHORITY_FOR).public_key(key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    made = builder.sign(key, hashes.SHA256())
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(key_file, _private(key), mode=0o600)
    write_whole(file, _public(made), mode=0o644)
    return made, key


def _make_server(
    authority: x509.Certificate, key: EllipticCurvePrivateKey, names: Collection[str], subject: str, client: bool
) -> bytes:
    """Key, certificate and authority in one PEM file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    own = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(subject), authority.subject, SERVER_FOR).public_key(own.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs=False), critical=True)
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, *([ExtendedKeyUsageOID.CLIENT_AUTH] if client else [])]
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName([_san(name) for name in names]), critical=False)
    by = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    made = builder.add_extension(by, critical=False).sign(key, hashes.SHA256())
    return _private(own) + _public(made) + _public(authority)


def _is_good(keystore: Path, authority: x509.Certificate, names: Collection[str]) -> bool:
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificates(keystore.read_bytes())
        said = found[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (FileNotFoundError, ValueError, IndexError, x509.ExtensionNotFound):
        return False
    same = {str(entry.value) for entry in said} == set(names)
    return same and authority in found and found[0].not_valid_after_utc > datetime.now(UTC) + RENEW_BEFORE


def _builder(subject: x509.Name, issuer: x509.Name, lasts: timedelta) -> x509.CertificateBuilder:
    from cryptography import x509

    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + lasts)


def _name(common: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _san(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, signs: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _private(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _public(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)
