"""A development certificate authority (CA) and the certificates that it issues to services and clients.

In production, cert-manager or a company's own CA writes the same files.

`trustme` does not replace this module: the validity of its CA is fixed at the years 2000 to 3000, its leaf certificates
permit code signing, and their critical subjectAltName beside a subject fails strict verification (RFC 5280, 4.2.1.6).
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

from deepmath.access.owner_file import OWNER_ONLY, replace_file
from deepmath.access.tls import CA_CERTIFICATE, CERTIFICATE, KEY
from deepmath.errors import InvalidRequest

CA_KEY = "ca.key"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
_DNS = re.compile(r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})")
_CLOCK_SKEW = timedelta(minutes=5)
_WORLD_READABLE = 0o644


class CertificateAuthority(NamedTuple):
    """The certificate and key that sign other certificates."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def create_ca(folder: Path, days: int, force: bool = False) -> None:
    """Write ca.crt and ca.key of a new CA, valid for `days`, to `folder`.

    Raises:
        InvalidRequest: The folder has a CA (without `force`) or cannot be written.
    """
    if not force and any((folder / name).exists() for name in (CA_CERTIFICATE, CA_KEY)):
        raise InvalidRequest(f"{folder} has a CA: --force replaces it and invalidates the certificates it has issued")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"deepmath development {os.urandom(4).hex()}")])
    certificate = (
        _builder(name, name, key, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(folder / CA_KEY, _private_pem(key), OWNER_ONLY)
    _write(folder / CA_CERTIFICATE, _pem(certificate), _WORLD_READABLE)


def issue_certificate(
    folder: Path, name: str, dns: Sequence[str], ips: Sequence[str], days: int, force: bool = False
) -> Path:
    """Issue a certificate for a server at `dns` and `ips`, also valid for a client, and return its TLS folder.

    `folder` is that of the CA, `name` the certificate's common name, and `folder`/`name` the result.

    Raises:
        InvalidRequest: There is no CA, a name is invalid, or the certificate exists (without `force`).
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"{name!r} is not a valid name: use at most 64 letters, digits, -, _ and ., starting with a letter"
        )
    alternative_names = _alternative_names(dns, ips)
    ca = _read_ca(folder)
    target = folder / name
    if not force and (target / CERTIFICATE).exists():
        raise InvalidRequest(f"{target} has a certificate: --force replaces it")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key())
    certificate = (
        _builder(subject, ca.certificate.subject, key, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternative_names), critical=False)
        .add_extension(issuer_key, critical=False)
        .sign(ca.key, hashes.SHA256())
    )
    _write(target / CA_CERTIFICATE, _pem(ca.certificate), _WORLD_READABLE)
    _write(target / CERTIFICATE, _pem(certificate), _WORLD_READABLE)
    _write(target / KEY, _private_pem(key), OWNER_ONLY)
    return target


def _alternative_names(dns: Sequence[str], ips: Sequence[str]) -> list[x509.GeneralName]:
    for name in dns:
        if not _DNS.fullmatch(name):
            raise InvalidRequest(f"--dns: {name!r} is not a valid DNS name")
    try:
        addresses = [x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips]
    except ValueError as error:
        raise InvalidRequest(f"--ip: {error}") from None
    return [*map(x509.DNSName, dns), *addresses]


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
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


def _read_ca(folder: Path) -> CertificateAuthority:
    try:
        certificate = x509.load_pem_x509_certificate((folder / CA_CERTIFICATE).read_bytes())
        key = serialization.load_pem_private_key((folder / CA_KEY).read_bytes(), password=None)
    except FileNotFoundError:
        raise InvalidRequest(f"{folder} has no CA: `deepmath certs init {folder}` creates one") from None
    except (OSError, ValueError, TypeError) as error:
        raise InvalidRequest(f"cannot use the CA in {folder}: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise InvalidRequest(
            f"{folder}: {CA_KEY} is not the key of {CA_CERTIFICATE}; `deepmath certs init` creates both"
        )
    return CertificateAuthority(certificate, key)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, data: bytes, mode: int) -> None:
    try:
        replace_file(path, data, mode)
    except OSError as error:
        raise InvalidRequest(f"cannot write {path}: {error.strerror}") from None
