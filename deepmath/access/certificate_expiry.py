"""End of the validity of an X.509 certificate, read from its DER encoding (RFC 5280, section 4.1)."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime

_VERSION, _UTC_TIME = 0xA0, 0x17  # tags: [0] of a version 2 or 3 certificate, and UTCTime
_FIRST_UTC_YEAR = 1950  # of UTCTime's two-digit years: RFC 5280, section 4.1.2.5.1
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def expiry(certificates: bytes) -> float:
    """Return notAfter of the first of `certificates`, which are PEM, as Unix time in seconds.

    Raises:
        ValueError: There is no certificate.
    """
    _, begin, rest = certificates.decode("ascii", "replace").partition(_BEGIN)  # a key or a description may precede it
    first, end, _ = rest.partition(_END)
    der = ssl.PEM_cert_to_DER_cert(begin + first + end)
    ((_, certificate),) = _elements(der)
    _, signed = next(_elements(certificate))
    fields = [content for tag, content in _elements(signed) if tag != _VERSION]
    _serial, _algorithm, _issuer, validity, *_ = fields
    _, (tag, not_after) = _elements(validity)
    return _time(tag, not_after.decode("ascii")).timestamp()


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each element."""
    at = 0
    while at < len(der):
        tag, size, at = der[at], der[at + 1], at + 2
        if size & 0x80:  # the long form: so many bytes of length follow
            end = at + (size & 0x7F)
            size, at = int.from_bytes(der[at:end]), end
        yield tag, der[at : at + size]
        at += size


def _time(tag: int, text: str) -> datetime:
    if tag == _UTC_TIME:
        century = 19 if int(text[:2]) >= _FIRST_UTC_YEAR % 100 else 20
        text = f"{century}{text}"
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
