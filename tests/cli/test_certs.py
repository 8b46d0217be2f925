"""`deepmath certs`."""

import stat
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from deepmath.access.tls import read_tls_files


@pytest.fixture
async def authority(deepmath, tmp_path) -> Path:
    assert (await deepmath("certs", "init", str(tmp_path / "authority"))).status == 0
    return tmp_path / "authority"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_issued_folder_is_usable_for_tls_and_its_keys_are_private(deepmath, authority):
    ended = await deepmath(
        "certs", "issue", str(authority), "executor", "--dns", "executor.deepmath.svc", "--days", "7"
    )
    folder = Path(ended.out.strip())
    assert folder == authority / "executor"
    assert read_tls_files(folder).ca_certificate == (authority / "ca.crt").read_bytes()
    assert mode(folder / "tls.key") == mode(authority / "ca.key") == 0o600
    assert not (folder / "ca.key").exists()


async def test_certificate_is_valid_for_its_names_only_under_a_strict_verifier(deepmath, authority):
    await deepmath("certs", "issue", str(authority), "a", "--dns", "a.example", "--ip", "192.0.2.7")
    certificate = x509.load_pem_x509_certificate((authority / "a" / "tls.crt").read_bytes())
    root = x509.load_pem_x509_certificate((authority / "ca.crt").read_bytes())
    policy = PolicyBuilder().store(Store([root]))
    policy.build_client_verifier().verify(certificate, [])
    for name in (x509.DNSName("a.example"), x509.IPAddress(ip_address("192.0.2.7"))):
        policy.build_server_verifier(name).verify(certificate, [])
    for name in (x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))):
        with pytest.raises(VerificationError):
            policy.build_server_verifier(name).verify(certificate, [])


async def test_existing_files_are_kept_without_force(deepmath, authority):
    certificate, root = authority / "a" / "tls.crt", authority / "ca.crt"
    await deepmath("certs", "issue", str(authority), "a")
    before = certificate.read_bytes(), root.read_bytes()
    for command in (["init", str(authority)], ["issue", str(authority), "a"]):
        ended = await deepmath("certs", *command)
        assert ended.status == 2
        assert "--force replaces it" in ended.err
    assert (certificate.read_bytes(), root.read_bytes()) == before
    for command in (["issue", str(authority), "a"], ["init", str(authority)]):
        assert (await deepmath("certs", *command, "--force")).status == 0
    assert certificate.read_bytes() != before[0]
    assert root.read_bytes() != before[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["../escape"], "is not a valid name"),
        (["a/b"], "is not a valid name"),
        (["a", "--ip", "300.1.1.1"], "300.1.1.1"),
        (["a", "--dns", "not a name"], "is not a valid DNS name"),
        (["a", "--days", "0"], "--days"),
    ],
)
async def test_invalid_certificate_request_is_rejected(deepmath, authority, arguments, message):
    ended = await deepmath("certs", "issue", str(authority), *arguments)
    assert ended.status == 2
    assert message in ended.err
    assert sorted(path.name for path in authority.iterdir()) == ["ca.crt", "ca.key"]


async def test_issuing_without_a_ca_names_the_command_that_creates_one(deepmath, tmp_path):
    ended = await deepmath("certs", "issue", str(tmp_path), "a")
    assert ended.status == 2
    assert f"`deepmath certs init {tmp_path}` creates one" in ended.err
