"""Mutual TLS: rejected certificates are explained, and certificates are rotated under load."""

import asyncio
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2
from support.health import health_stub
from support.secured import ELSEWHERE, Authority, Served, mount, replace, serving, swap

from deepmath.clients import ExecutorClient, TrainerClient
from deepmath.errors import InvalidRequest, Unavailable
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.executor.v1 import executor_pb2_grpc as rpc

_RELOAD_SECONDS = 20  # more than a reload takes on a busy machine


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def other_authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other-authority"))


@pytest.fixture(scope="module")
def alice(authority) -> Path:
    """A client's TLS folder."""
    return authority.issue("alice")


@pytest.fixture(scope="module")
async def secured(authority, tmp_path_factory) -> AsyncIterator[Served]:
    folder = tmp_path_factory.mktemp("secured")
    async with serving("executor", folder, "--tls", authority.issue("executor")) as served:
        yield served


async def rejection(client: ExecutorClient) -> str:
    async with client:
        with pytest.raises(Unavailable) as rejected:
            await client.get_info(deadline_s=2)
    assert "\n" not in str(rejected.value)
    return str(rejected.value)


async def test_client_with_a_certificate_is_served_and_identified_by_its_common_name(secured, alice):
    async with secured.client(alice, client_name="somebody else") as client:
        assert (await client.execute("6 * 7")).value == "42"
    assert (await secured.audit_of("alice"))["host"] == ""


async def test_client_finds_its_certificate_through_the_environment(secured, alice, monkeypatch):
    monkeypatch.setenv("DEEPMATH_TLS", str(alice))
    async with secured.client() as client:
        assert (await client.execute("6 * 7")).value == "42"


async def test_client_of_a_list_of_addresses_is_served(secured, alice):
    async with ExecutorClient(f"{secured.address},{secured.address}", tls=alice) as client:
        assert (await client.execute("6 * 7")).value == "42"


async def test_client_without_tls_is_rejected_with_the_remedy(secured):
    assert "the server requires TLS; set DEEPMATH_TLS" in await rejection(secured.client())


async def test_client_without_a_certificate_is_rejected(secured, authority):
    roots = grpc.ssl_channel_credentials((authority.folder / "ca.crt").read_bytes())
    async with grpc.aio.secure_channel(secured.address, roots) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as rejected:
            await rpc.ExecutorServiceStub(channel).GetInfo(pb.GetInfoRequest(), timeout=5)
    assert rejected.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_expired_client_certificate_is_rejected(secured, authority):
    message = await rejection(secured.client(authority.issue_expired("late")))
    assert "the server rejected the certificate" in message
    assert "(certificate has expired); renew it" in message


async def test_client_certificate_of_another_ca_is_rejected(secured, other_authority, authority):
    stranger = other_authority.issue("stranger")
    (stranger / "ca.crt").write_bytes((authority.folder / "ca.crt").read_bytes())
    message = await rejection(secured.client(stranger))
    assert "the server rejected the certificate" in message
    assert "(unable to get local issuer certificate)" in message


async def test_server_certificate_of_another_ca_is_rejected(secured, other_authority):
    message = await rejection(secured.client(other_authority.issue("alice")))
    assert "the server's certificate was rejected (unable to get local issuer certificate)" in message


@pytest.mark.parametrize(
    ("issue", "reason"),
    [
        (
            lambda authority: authority.issue("bad", ELSEWHERE),
            "IP address mismatch, certificate is not valid for '127.0.0.1'",
        ),
        (lambda authority: authority.issue_expired("bad"), "certificate has expired"),
    ],
    ids=["elsewhere", "expired"],
)
async def test_invalid_server_certificate_is_rejected_with_the_reason(authority, alice, tmp_path, issue, reason):
    async with serving("executor", tmp_path, "--tls", issue(authority)) as served:
        assert f"the server's certificate was rejected ({reason})" in await rejection(served.client(alice))


async def test_client_with_tls_learns_that_the_server_does_not_use_it(alice, tmp_path):
    async with serving("executor", tmp_path) as served:
        assert "the server does not use TLS; unset DEEPMATH_TLS" in await rejection(served.client(alice))


@pytest.mark.parametrize("change", ["careless", "kubernetes"])
async def test_certificates_are_rotated_under_load_without_a_failed_call(authority, tmp_path, change):
    async def rotate(folder: Path, new: Path) -> None:
        await asyncio.to_thread(*((swap, folder, new) if change == "kubernetes" else (replace, folder, new)))

    server = mount(tmp_path / "server", authority.issue("executor"))
    mine = mount(tmp_path / "client", authority.issue("before"))
    if change == "careless":
        for folder in (server, mine):
            for file in ("tls.crt", "tls.key", "ca.crt"):
                data = (folder / file).read_bytes()
                (folder / file).unlink()
                (folder / file).write_bytes(data)
    served_first = (server / "tls.crt").read_text()
    calls, stop = 0, asyncio.Event()

    async with serving("executor", tmp_path, "--tls", server, "--connection-age-seconds=1") as served:

        async def call(client: ExecutorClient) -> None:
            nonlocal calls
            while not stop.is_set():
                await rpc.ExecutorServiceStub(client.channel).Execute(pb.ExecuteRequest(code="6 * 7"), timeout=60)
                calls += 1

        async with served.client(mine) as client, client.session() as session:
            await session.run("x = 1")
            load = [asyncio.create_task(call(client)) for _ in range(4)]
            await rotate(server, authority.issue("executor"))
            await rotate(mine, authority.issue("after"))
            async with asyncio.timeout(_RELOAD_SECONDS):
                while not any(line["client"] == "after" for line in served.audit()):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            serves = await asyncio.to_thread(certificate_of, served, mine)
            done = calls
            async with asyncio.timeout(_RELOAD_SECONDS):
                while calls < done + 8:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            stop.set()
            await asyncio.gather(*load)  # raises if a call failed
            assert (await session.run("x")).value == "1"  # on its original connection
        assert serves != served_first
        assert serves == (server / "tls.crt").read_text()
        assert "keeping the previously loaded version" not in served.log.read_text()


def certificate_of(served: Served, tls: Path) -> str:
    context = ssl.create_default_context(cafile=tls / "ca.crt")
    context.load_cert_chain(tls / "tls.crt", tls / "tls.key")
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", served.port), 5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        certificate = secured.getpeercert(binary_form=True)
        assert certificate
        return ssl.DER_cert_to_PEM_cert(certificate)


async def test_half_rotated_certificate_is_logged_once_and_the_old_one_stays_in_use(authority, alice, tmp_path):
    folder, new = authority.issue("whole"), authority.issue("half")
    before = (folder / "tls.crt").read_text()
    async with serving("executor", tmp_path, "--tls", folder) as served:
        (folder / "tls.key").write_bytes((new / "tls.key").read_bytes())
        for _ in range(8):
            await asyncio.sleep(0.4)
            assert await asyncio.to_thread(certificate_of, served, alice) == before
        assert (
            served.log.read_text().count("tls.key is not the key of tls.crt; replace both; keeping the previously") == 1
        )
        (folder / "tls.crt").write_bytes((new / "tls.crt").read_bytes())
        async with asyncio.timeout(_RELOAD_SECONDS):
            while await asyncio.to_thread(certificate_of, served, alice) == before:  # noqa: ASYNC110
                await asyncio.sleep(0.2)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "tls.key").unlink(), "tls.key: No such file or directory; a TLS folder has"),
        (lambda folder: (folder / "ca.crt").write_text("?"), "ca.crt is not a certificate in PEM"),
        (
            lambda folder: (folder / "tls.crt").write_text("?"),
            "tls.crt and tls.key are not a certificate and a key in PEM",
        ),
    ],
    ids=["no-key", "bad-ca", "bad-certificate"],
)
async def test_unusable_files_are_rejected_before_the_service_starts(authority, deepmath, tmp_path, spoil, message):
    folder = authority.issue("spoiled")
    spoil(folder)
    ended = await deepmath("serve", "executor", "--tls", str(folder))
    assert ended.status == 2
    assert message in ended.err
    assert len(ended.err.splitlines()) == 1
    with pytest.raises(InvalidRequest, match=message):
        TrainerClient("127.0.0.1:1", tls=folder)


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:7301", "executor.example:7301"])
async def test_service_does_not_listen_beyond_this_machine_without_tls(deepmath, listen):
    ended = await deepmath("serve", "executor", "--listen", listen)
    assert ended.status == 2
    assert f"cannot listen on {listen} without TLS" in ended.err
    assert "--tls FOLDER" in ended.err
    assert "--insecure" in ended.err
    assert len(ended.err.splitlines()) == 1


async def test_insecure_service_listens_everywhere_and_logs_a_warning(tmp_path):
    async with (
        serving("executor", tmp_path, "--insecure", listen="0.0.0.0:0") as served,
        ExecutorClient(f"127.0.0.1:{served.port}") as client,
    ):
        assert (await client.execute("6 * 7")).value == "42"
    assert "is served without TLS: anyone who can reach it can call it" in served.log.read_text()


async def test_unix_socket_is_served_without_tls(authority, alice, tmp_path):
    tls = authority.issue("executor")
    listen = f"unix:{tmp_path}/socket"
    async with serving("executor", tmp_path, "--tls", tls, listen=listen) as served, served.client(alice) as client:
        assert (await client.execute("6 * 7")).value == "42"


async def test_health_check_over_tls_needs_a_certificate(secured, alice):
    assert await health("--tls", str(alice), secured.address) == 0
    assert await health(secured.address) == 1
    assert await health("--tls", str(alice / "nowhere"), secured.address) == 2


async def test_plaintext_health_endpoint_serves_nothing_but_health(authority, alice, monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPMATH_TLS", str(alice))  # as in a container whose service is a client of others over TLS
    options = ("--tls", authority.issue("executor"), "--health-listen", "127.0.0.1:0")
    async with serving("executor", tmp_path, *options) as served:
        (line,) = served.printed
        address = line.removeprefix("health on ")
        assert await health(address) == 0
        async with grpc.aio.insecure_channel(address) as channel:
            stub = health_stub(channel)
            name = health_pb2.HealthCheckRequest(service="deepmath.executor.v1.ExecutorService")
            assert (await stub.Check(name)).status == health_pb2.HealthCheckResponse.SERVING
            with pytest.raises(grpc.aio.AioRpcError) as rejected:
                await rpc.ExecutorServiceStub(channel).Execute(pb.ExecuteRequest(code="1"))
            assert rejected.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def health(*arguments: str) -> int:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "deepmath.serving.health_check", *arguments)
    return await process.wait()


async def test_command_with_its_own_services_works_with_credentials_in_the_environment(alice, deepmath, monkeypatch):
    monkeypatch.setenv("DEEPMATH_TLS", str(alice))
    ended = await deepmath("exec", "-", stdin="6 * 7")
    assert (ended.status, ended.out, ended.err) == (0, "42\n", "")


async def test_command_with_unusable_files_fails_with_one_line(deepmath, monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPMATH_TLS", str(tmp_path / "nowhere"))
    ended = await deepmath("exec", "-", "--executor", "127.0.0.1:1", stdin="6 * 7")
    assert ended.status == 2
    assert "nowhere/tls.crt: No such file or directory; a TLS folder has" in ended.err
    assert len(ended.err.splitlines()) == 1
