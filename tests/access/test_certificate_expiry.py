"""The expiry of a certificate, against the library that issued it."""

from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmath.access.certificate_expiry import expiry

CA = trustme.CA()


@settings(max_examples=30, deadline=None)
@given(
    st.datetimes(datetime(1951, 1, 2), datetime(2200, 1, 1)),  # UTCTime until 2049, GeneralizedTime after
    st.text("abcdefgh", min_size=1, max_size=60),
)
def test_expiry_is_that_of_the_certificate(end: datetime, name: str) -> None:
    end = end.replace(tzinfo=UTC, microsecond=0)
    leaf = CA.issue_cert(f"{name}.example", common_name=name, not_before=end - timedelta(days=1), not_after=end)
    pem = leaf.cert_chain_pems[0].bytes()
    assert expiry(pem) == x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp() == end.timestamp()


def test_expiry_of_a_chain_is_that_of_its_first_certificate() -> None:
    leaf = CA.issue_cert("one.example").cert_chain_pems[0].bytes()
    assert expiry(b"subject=one\n" + leaf + CA.cert_pem.bytes()) == expiry(leaf)


def test_expiry_is_found_after_a_key_and_a_description() -> None:
    issued = CA.issue_cert("one")
    (leaf, *_) = (pem.bytes() for pem in issued.cert_chain_pems)
    assert expiry("subject=M\u00fcller\n".encode() + issued.private_key_pem.bytes() + leaf) == expiry(leaf)


@pytest.mark.parametrize("text", [b"", b"-----BEGIN CERTIFICATE-----\n"])
def test_text_without_a_certificate_has_none(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        expiry(text)
