"""A certificate authority for development and tests, and the certificates that it gives to services and clients.

In production something else does this (cert-manager, a company's own authority) and writes the same files.
"""

import ipaddress
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deepmath.access.tls import AUTHORITY, CERTIFICATE, KEY
from deepmath.errors import InvalidRequest

AUTHORITY_KEY = "ca.key"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
_DNS = re.compile(r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})")
_CLOCKS_DIFFER = timedelta(minutes=5)
_OWNER_ONLY, _FOR_ALL = 0o600, 0o644


class CertificateAuthority(NamedTuple):
    """What signs certificates."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make_authority(folder: Path, days: int, force: bool = False, now: datetime | None = None) -> None:
    """Write ca.crt and ca.key of a new authority to `folder`, good for `days` from `now` on.

    Raises:
        InvalidRequest: there is one and `force` is not given, or `folder` cannot be written to.
    """
    if not force and any((folder / name).exists() for name in (AUTHORITY, AUTHORITY_KEY)):
        raise InvalidRequest(f"{folder} has an authority: --force replaces it, and what it has issued is void then")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"deepmath development {os.urandom(4).hex()}")])
    builder = _builder(name, name, key, now or datetime.now(UTC), timedelta(days=days))
    certificate = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(folder / AUTHORITY_KEY, _private_pem(key), _OWNER_ONLY)
    _write(folder / AUTHORITY, certificate.public_bytes(serialization.Encoding.PEM), _FOR_ALL)


def issue(
    folder: Path,
    name: str,
    dns: Sequence[str],
    ips: Sequence[str],
    days: int,
    force: bool = False,
    now: datetime | None = None,
) -> Path:
    """Issue a certificate for a server at `dns` and `ips`, which is good for a client too; return its folder for TLS.

    It is `folder`/`name`; `folder` is that of the authority. The certificate is good for `days` from `now` on.

    Raises:
        InvalidRequest: there is no authority, or there is such a certificate and `force` is not given, or a name is
            none.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"{name!r} is no name: take at most 64 letters, digits, -, _ and ., a letter or digit first"
        )
    names = _names(dns, ips)
    authority = _read_authority(folder)
    own = folder / name
    if not force and (own / CERTIFICATE).exists():
        raise InvalidRequest(f"{own} has a certificate: --force replaces it")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer = authority.certificate.subject
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    certificate = (
        _builder(subject, issuer, key, now or datetime.now(UTC), timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(signer, critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    _write(own / AUTHORITY, authority.certificate.public_bytes(serialization.Encoding.PEM), _FOR_ALL)
    _write(own / CERTIFICATE, certificate.public_bytes(serialization.Encoding.PEM), _FOR_ALL)
    _write(own / KEY, _private_pem(key), _OWNER_ONLY)
    return own


def _names(dns: Sequence[str], ips: Sequence[str]) -> list[x509.GeneralName]:
    for name in dns:
        if not _DNS.fullmatch(name):
            raise InvalidRequest(f"--dns {name!r} is no DNS name")
    try:
        addresses = [x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips]
    except ValueError as error:
        raise InvalidRequest(f"--ip: {error}") from None
    return [*map(x509.DNSName, dns), *addresses]


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, good_for: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + good_for)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _read_authority(folder: Path) -> CertificateAuthority:
    try:
        certificate = x509.load_pem_x509_certificate((folder / AUTHORITY).read_bytes())
        key = serialization.load_pem_private_key((folder / AUTHORITY_KEY).read_bytes(), password=None)
    except FileNotFoundError:
        raise InvalidRequest(f"{folder} has no authority: `deepmath certs init {folder}` makes one") from None
    except (OSError, ValueError, TypeError) as error:
        raise InvalidRequest(f"cannot use the authority in {folder}: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise InvalidRequest(
            f"{folder}: {AUTHORITY_KEY} is not the key of {AUTHORITY}, as `deepmath certs init` makes it"
        )
    return CertificateAuthority(certificate, key)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a file whole or not at all; nobody sees a key in between who may not see it after."""
    new = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
        new.replace(path)
    except OSError as error:
        raise InvalidRequest(f"cannot write {path}: {error.strerror}") from None
