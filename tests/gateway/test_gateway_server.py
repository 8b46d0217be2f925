"""The gateway's server: TLS, API keys and limits of clients, drain, cancellation, request ids and logs."""

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import httpx
import pytest
from deepmath_gateway.client_presence import ClientPresence
from deepmath_gateway.config import GatewayConfig
from deepmath_gateway.error_responses import ErrorResponses
from deepmath_gateway.event_stream import EventStream
from deepmath_gateway.http_server import ListeningServer
from support.secured import Authority, add_token, mount, serving, swap

from deepmath.clients import ExecutorClient
from deepmath.serving.service_config import load

from .conftest import ServedGateway, ServeGateway

SLOW = {"code": "import time\ntime.sleep(60)", "language": "python", "run_timeout": 70}
SUM = {"code": "print(6 * 7)", "language": "python"}


def key_in(file: Path) -> dict[str, str]:
    return {"Authorization": f"Bearer {file.read_text().strip()}"}


def trusting(authority: Authority, certificate: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.folder / "ca.crt")
    if certificate:
        context.load_cert_chain(certificate / "tls.crt", certificate / "tls.key")
    return context


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


async def test_with_keys_a_client_needs_no_certificate(
    serve_gateway: ServeGateway, gateway_executor: str, authority: Authority, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens.toml"
    headers = key_in(add_token(tokens, "alice", "execute"))
    volume = mount(tmp_path / "tls", authority.issue("gateway"))
    async with serve_gateway(executor=gateway_executor, tls=volume, tokens=tokens) as served:
        async with served.client(verify=trusting(authority)) as http:
            assert (await http.post("/run_code", json=SUM)).status_code == 401
            assert (await http.post("/run_code", json=SUM, headers=headers)).status_code == 200
        async with served.client(verify=ssl.create_default_context()) as stranger:
            with pytest.raises(httpx.ConnectError):
                await stranger.get("/healthz")
        before = await served_certificate(served)
        swap(volume, authority.issue("gateway"))
        await asyncio.sleep(1.1)  # files are looked at once a second
        assert await served_certificate(served) != before


async def served_certificate(served: ServedGateway) -> bytes:
    """Return the certificate that a new connection gets."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host, _, port = served.server.address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    assert isinstance(certificate, bytes)
    return certificate


async def test_without_keys_a_client_needs_a_certificate(
    serve_gateway: ServeGateway, gateway_executor: str, authority: Authority
) -> None:
    async with serve_gateway(executor=gateway_executor, tls=authority.issue("gateway")) as served:
        async with served.client(verify=trusting(authority)) as stranger:
            with pytest.raises(httpx.TransportError):
                await stranger.get("/healthz")
        async with served.client(verify=trusting(authority, authority.issue("alice"))) as http:
            assert (await http.post("/run_code", json=SUM)).status_code == 200


@pytest.mark.parametrize("listen", ["0.0.0.0:7304", "192.0.2.7:7304", "[::]:7304"])
def test_beyond_this_machine_only_with_tls(capsys: pytest.CaptureFixture[str], listen: str) -> None:
    with pytest.raises(SystemExit) as ended:
        load(GatewayConfig, "deepmath serve gateway", ["--executor", "e:1", "--listen", listen])
    assert ended.value.code == 2
    assert f"cannot listen on {listen} without TLS" in capsys.readouterr().err
    assert load(GatewayConfig, "x", ["--executor", "e:1", "--listen", listen, "--insecure"]).listen == listen


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give --generator ADDRESS, --executor ADDRESS, or both"),
        (["--executor", "e:1", "--cors-origin", "*"], "is not an origin"),
        (["--executor", "e:1", "--max-streams", "3"], "unknown option `--max-streams`"),
    ],
)
def test_mistaken_settings_are_explained(capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    with pytest.raises(SystemExit):
        load(GatewayConfig, "deepmath serve gateway", options)
    assert message in capsys.readouterr().err


async def test_limits_of_a_client_hold_for_requests(
    serve_gateway: ServeGateway, gateway_executor: str, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens.toml"
    one, other = (key_in(add_token(tokens, name, "execute", max_calls=1)) for name in ("alice", "bob"))
    async with serve_gateway(executor=gateway_executor, tokens=tokens) as served, served.client() as http:
        slow = asyncio.create_task(http.post("/run_code", json=SLOW, headers=one))
        await until(lambda: served.gateway.metrics.in_flight == 1)
        refused = await http.get("/no-such-path", headers=one)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert (await http.get("/no-such-path", headers=other)).status_code == 404
        slow.cancel()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_client_that_leaves_ends_its_request_and_the_sandbox(
    gateway: ServedGateway, gateway_executor_client: ExecutorClient
) -> None:
    async def until_running(holds: Callable[[int], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds((await gateway_executor_client.get_info()).load.running_snippets):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    before = (await gateway_executor_client.get_info()).load.running_snippets
    async with gateway.client() as http:
        slow = asyncio.create_task(http.post("/run_code", json=SLOW))
        await until_running(lambda now: now > before)
        slow.cancel()
    await until_running(lambda now: now <= before)  # a second on an idle machine
    await until(lambda: gateway.gateway.metrics.in_flight == 0)


async def test_a_client_that_does_not_read_ends_its_request() -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(1 << 16)
                await asyncio.sleep(0)
        finally:
            closed.set()

    async def app(scope, receive, send):
        await EventStream(endless())(scope, receive, send)

    guarded = ErrorResponses(ClientPresence(app, send_seconds=0.2), find=lambda _: None)
    server = ListeningServer(guarded, "127.0.0.1:0", GatewayConfig(executor="e:1"), health=True)
    task = asyncio.create_task(server.serve())
    await server.ready.wait()
    _, writer = await asyncio.open_connection("127.0.0.1", int(server.address.rpartition(":")[2]))
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(20):
        await closed.wait()
        await until(lambda: len(server.table) == 0)  # and the connection is gone, whatever was left to send
    writer.close()
    server.should_exit = True
    await task


async def test_drain_lets_requests_finish_and_then_refuses_them_in_the_form_of_their_protocol(
    serve_gateway: ServeGateway, gateway_executor: str
) -> None:
    short = {"code": "import time\ntime.sleep(1.5)\nprint('done')", "language": "python"}
    for grace_s, message in ((20, "done\n"), (0.2, "shutting down")):
        async with serve_gateway(executor=gateway_executor) as served, served.client() as http:
            request = asyncio.create_task(http.post("/run_code", json=short))
            await until(lambda: served.gateway.metrics.in_flight == 1)
            await asyncio.sleep(0.1)
            await served.server.stop(grace_s)
            answer = await request
            assert message in json.dumps(answer.json()).replace("\\n", "\n")
            assert answer.status_code in (200, 503)
            with pytest.raises(httpx.ConnectError):
                await http.get("/healthz")


async def test_sigterm_ends_the_process(tmp_path: Path) -> None:
    options = ("--executor", f"unix:{tmp_path}/none", "--log-level=info", "--health-listen")
    async with serving("gateway", tmp_path, *options, "127.0.0.1:0") as served:
        assert [line.partition(" on ")[0] for line in served.printed] == ["health"]
        served.process.terminate()
        async with asyncio.timeout(20):
            assert await served.process.wait() == 0
    assert "Traceback" not in served.log.read_text()


class RecordingExecutor(grpc.GenericRpcHandler):
    """Refuses every call, and keeps its metadata."""

    def __init__(self) -> None:
        self.metadata: list[dict[str, str]] = []

    def service(self, details):
        async def refuse(_, context):
            self.metadata.append(dict(details.invocation_metadata))
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")

        return grpc.stream_stream_rpc_method_handler(refuse)


@contextlib.asynccontextmanager
async def recording(path: Path) -> AsyncIterator[RecordingExecutor]:
    handler, server = RecordingExecutor(), grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    yield handler
    await server.stop(0)


async def test_request_id_and_trace_go_to_the_services_and_nothing_secret_into_the_log(
    serve_gateway: ServeGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = tmp_path / "tokens.toml"
    headers = key_in(add_token(tokens, "alice", "execute"))
    headers |= {"x-request-id": "hunt-17", "traceparent": "00-" + 32 * "a" + "-" + 16 * "b" + "-01"}
    settings = {"executor": f"unix:{tmp_path}/e", "executor_patience_s": 0.1, "tokens": tokens}
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.WARNING, "httpx")  # the client
    async with recording(tmp_path / "e") as handler, serve_gateway(**settings) as served, served.client() as http:
        answer = await http.post("/run_code", json={"code": "secret_code", "language": "python"}, headers=headers)
        assert answer.headers["x-request-id"] == "hunt-17"
        assert handler.metadata[0]["x-request-id"] == "hunt-17"
        assert handler.metadata[0]["traceparent"].split("-")[1] == 32 * "a"
        await http.delete("/sessions/secret_session", headers=headers)
        await http.post("/run_code?key=secret_query", headers={"authorization": "Bearer secret_key"})
    text = caplog.text
    assert "secret" not in text
    assert headers["Authorization"].removeprefix("Bearer ") not in text


async def test_requests_are_counted_by_protocol_and_status(http: httpx.AsyncClient, gateway: ServedGateway) -> None:
    def count(protocol: str, status: str) -> float:
        labels = {"protocol": protocol, "status": status}
        return gateway.gateway.metrics.registry.get_sample_value("deepmath_gateway_requests_total", labels) or 0

    before = count("unknown", "4xx")
    await http.get("/no-such-path")
    assert count("unknown", "4xx") == before + 1
