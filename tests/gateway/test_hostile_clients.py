"""Requests that no honest client sends are refused, and the gateway serves others all the while.

10 000 idle sockets and floods: `benchmarks/hostile_clients.py`.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmath.access.token_file_editor import write_client
from deepmath.access.tokens import TokenClient, hash_token

from .conftest import ServedGateway, ServeGateway

KEY, OTHER_KEY, MODEL_KEY = "key-of-alice", "key-of-bob", "key-for-models"
MAX_BODY = 1 << 20
RUN = json.dumps({"code": "print(6 * 7)", "language": "python"}).encode()


@pytest.fixture(scope="session")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("tokens") / "clients.toml"
    for name, key, scope in (
        ("alice", KEY, "execute"),
        ("bob", OTHER_KEY, "execute"),
        ("carol", MODEL_KEY, "generate"),
    ):
        write_client(file, name, TokenClient(sha256=hash_token(key), scopes=frozenset({scope})))
    return file


@pytest.fixture(scope="session")
async def strict(serve_gateway: ServeGateway, gateway_executor: str, tokens: Path) -> AsyncIterator[ServedGateway]:
    """A gateway with clients and short timeouts."""
    async with serve_gateway(
        executor=gateway_executor,
        tokens=tokens,
        max_message_bytes=MAX_BODY,
        max_unread_bytes=4 * MAX_BODY,
        receive_seconds=1,
        handshake_seconds=1,
        connection_idle_seconds=1,
        max_connections=30,
    ) as served:
        yield served


@pytest.fixture(autouse=True)
async def stays_healthy(strict: ServedGateway) -> AsyncIterator[None]:
    yield
    async with strict.client() as http:
        assert (await http.get("/readyz")).status_code == 200


@pytest.fixture(autouse=True, scope="module")
async def serves_others_at_the_end(strict: ServedGateway) -> AsyncIterator[None]:
    yield
    async with strict.client() as http:
        answer = await http.post("/run_code", content=RUN, headers=json_headers())
        assert answer.json()["run_result"]["stdout"] == "42\n"


def json_headers(key: str = KEY) -> dict[str, str]:
    return {"content-type": "application/json", "authorization": f"Bearer {key}"}


def request(head: str, body: bytes = b"", *, key: str = KEY, length: int | None = None) -> bytes:
    """Return a request with a key and, if there is a body, its length."""
    lines = [head, "Host: localhost", f"Authorization: Bearer {key}"]
    if body or length is not None:
        lines += [f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + body


async def send(served: ServedGateway, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Send the parts one after another, and return all that comes back until the gateway closes the connection."""
    host, _, port = served.server.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(20):
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause_s)
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"^HTTP/1\.1 (\d{3})", answer, re.MULTILINE) if status != b"100"]


JSON = "POST /run_code HTTP/1.1\r\nConnection: close\r\nContent-Type: application/json"
CHUNKED = f"{JSON}\r\nTransfer-Encoding: chunked"
GET = "GET {} HTTP/1.1\r\nConnection: close"
POST = "POST {} HTTP/1.1\r\nConnection: close\r\nContent-Type: application/json"

PATHS = (
    *("/../run_code", "//run_code", "/run_code/", "/run_code/.", "/x/../run_code", "/./run_code", "/run_code%00"),
    *("/%2e%2e/run_code", "/x%2f..%2frun_code", "/%252e%252e/run_code", "/RUN_CODE", "/run_code;a=b", "/run_code%20"),
    *("\\run_code", "/..%5crun_code", "/run%0d%0aX-Evil:1", "http://localhost//run_code", "/" + "a" * 20_000),
    *("/healthz/../run_code", "/metrics", "/docs", "/openapi.json", "/etc/passwd", "/..;/run_code", "*", "/%ff%fe"),
)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:30])
async def test_a_path_that_is_not_served_is_refused(strict: ServedGateway, path: str) -> None:
    answer = await send(strict, request(POST.format(path), RUN))
    assert statuses(answer) in ([404], [400], [405])
    assert b"X-Evil" not in answer.partition(b"\r\n\r\n")[0]


INVALID = 422  # an invalid body, in the form of SandboxFusion's protocol

# What is sent, and the statuses that answer it.
MESSAGES: dict[str, tuple[bytes, list[int]]] = {
    "no key": (b"POST /run_code HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", [401]),
    "unknown key": (request(JSON, RUN, key="key-of-mallory"), [401]),
    "empty key": (request(JSON, RUN, key=""), [401]),
    "long key": (request(JSON, RUN, key="k" * 20_000), [401]),
    "key of another scope": (request(JSON, RUN, key=MODEL_KEY), [403]),
    "unknown key, unknown path": (request(GET.format("/no-such-path"), key="key-of-mallory"), [401]),
    "other method": (request(GET.format("/run_code")), [405]),
    "unknown method": (request("BREW /run_code HTTP/1.1\r\nConnection: close"), [405]),
    "TRACE": (request("TRACE /run_code HTTP/1.1\r\nConnection: close"), [405]),
    "not HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), [400]),
    "HTTP/2 without TLS": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [401]),
    "no host": (f"GET /healthz HTTP/1.1\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode(), [400]),
    "two hosts": (request(f"{JSON}\r\nHost: evil.example", RUN), [400]),
    "long header": (request(f"{JSON}\r\nX-Long: {'a' * 100_000}", RUN), [431]),
    "many headers": (request(f"{JSON}\r\n" + "\r\n".join(f"X-{n}: a" for n in range(5000)), RUN), [431]),
    "head without end": (b"POST /run_code HTTP/1.1\r\n" + b"X-Long: a\r\n" * 5000, [400]),
    "folded header": (request(f"{JSON}\r\nX-Folded: a\r\n b", RUN), [200]),
    "two lengths": (request(f"{JSON}\r\nContent-Length: 3", RUN), [400]),
    "negative length": (request(JSON, length=-1), [400]),
    "length without end": (request(JSON, length=int("9" * 400)), [400]),
    "length over the limit": (request(JSON, length=MAX_BODY + 1), [413]),
    "length of a petabyte": (request(JSON, length=1 << 50), [413]),
    "body over the limit in chunks": (
        request(CHUNKED) + (b"10000\r\n" + bytes(1 << 16) + b"\r\n") * (MAX_BODY // (1 << 16) + 2),
        [413],
    ),
    "chunk without end": (request(CHUNKED) + b"f" * 400, [408]),
    "no media type": (request("POST /run_code HTTP/1.1\r\nConnection: close", RUN), [415]),
    "form": (request(JSON.replace("application/json", "application/x-www-form-urlencoded"), RUN), [415]),
    "plain text, as a page's form can send it": (request(JSON.replace("application/json", "text/plain"), RUN), [415]),
    "upload": (request(JSON.replace("application/json", "multipart/form-data; boundary=x"), b"--x--\r\n"), [415]),
    "almost JSON": (request(JSON.replace("application/json", "application/json5"), RUN), [415]),
    "compressed": (request(f"{JSON}\r\nContent-Encoding: gzip", bytes(100)), [415]),
    "not JSON": (request(JSON, b"{'code': 1}"), [INVALID]),
    "an empty body": (request(JSON, length=0), [INVALID]),
    "another JSON value": (request(JSON, b"[1, 2]"), [INVALID]),
    "not UTF-8": (request(JSON, b'{"code": "\xff", "language": "python"}'), [INVALID]),
    "UTF-16": (request(JSON, RUN.decode().encode("utf-16")), [INVALID]),
    "lone surrogate": (request(JSON, b'{"code": "\\ud800", "language": "python"}'), [INVALID]),
    "nested lists": (request(JSON, b"[" * 100_000), [INVALID]),
    "nested objects": (request(JSON, b'{"a":' * 50_000), [INVALID]),
    "a number of a million digits": (request(JSON, b'{"code": ' + b"9" * 1_000_000 + b"}"), [400]),
    "a key of half a megabyte": (request(JSON, b'{"' + b"a" * 500_000 + b'": 1}'), [INVALID]),
    "wrong types": (request(JSON, b'{"code": {"a": 1}, "language": ["python"]}'), [INVALID]),
    "quotes without end": (request(JSON, b'"\\' * 250_000), [INVALID]),
}


@pytest.mark.parametrize("name", MESSAGES)
async def test_hostile_message_is_refused(strict: ServedGateway, name: str) -> None:
    message, expected = MESSAGES[name]
    answer = await send(strict, message)
    assert statuses(answer) == expected
    assert len(answer) < 2000  # no echo of what was sent
    assert b"Traceback" not in answer
    assert b"/deepmath" not in answer


@pytest.mark.parametrize("parts", [1, 40], ids=["nothing more", "a byte now and then"])
async def test_body_that_does_not_arrive_in_time_is_refused(strict: ServedGateway, parts: int) -> None:
    head = request(JSON, length=len(RUN))
    answer = await send(strict, head, *(bytes([byte]) for byte in RUN[:parts]), pause_s=0.1)
    assert statuses(answer) in ([408], [])  # the connection may end while the client still sends


@pytest.mark.parametrize("head", [b"", b"POST /run_code HT", b"POST /run_code HTTP/1.1\r\nHost: local"])
async def test_connection_without_a_whole_request_is_closed(strict: ServedGateway, head: bytes) -> None:
    slow = [bytes([byte]) for byte in b"X-Slow: " + b"a" * 60] if head.endswith(b"local") else []
    assert statuses(await send(strict, head, *slow, pause_s=0.05)) == []


async def test_idle_connections_give_way_to_new_ones(strict: ServedGateway) -> None:
    """Three times as many as are permitted."""
    host, _, port = strict.server.address.rpartition(":")
    idle = [await asyncio.open_connection(host, int(port)) for _ in range(90)]
    async with strict.client() as http:
        answer = await http.post("/run_code", content=RUN, headers=json_headers())
        assert answer.status_code == 200
    ends = await asyncio.gather(*(reader.read() for reader, _ in idle), return_exceptions=True)
    assert all(end == b"" or isinstance(end, ConnectionError) for end in ends)
    for _, writer in idle:
        writer.close()


async def test_second_request_hidden_in_a_body_is_not_answered(strict: ServedGateway) -> None:
    hidden = request(GET.format("/healthz"))
    both = f"{CHUNKED}\r\nContent-Length: {5 + len(hidden)}".replace("Connection: close\r\n", "")
    assert len(statuses(await send(strict, request(both) + b"0\r\n\r\n" + hidden))) <= 2
    refused = request(JSON.replace("application/json", "text/plain"), RUN + hidden)
    assert statuses(await send(strict, refused)) == [415]


async def test_a_refused_body_is_not_received_without_end(strict: ServedGateway) -> None:
    """The connection is closed, however much more comes."""
    chunk = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
    endless = request(CHUNKED.replace("application/json", "text/plain"))
    answer = await send(strict, endless, *[chunk] * 400)
    assert statuses(answer) in ([415], [])


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.booleans())
async def test_any_bytes_are_answered_or_dropped(strict: ServedGateway, data: bytes, framed: bool) -> None:
    message = request(JSON, data) if framed else data + b"\r\n\r\n"
    answers = statuses(await send(strict, message))
    assert set(answers) <= {400, 401, 404, 405, INVALID}


async def test_a_page_cannot_use_the_gateway_of_its_reader(gateway: ServedGateway) -> None:
    """Without keys on loopback: no page may read an answer, under its own name or another, or send JSON."""
    async with gateway.client() as http:
        rebound = await http.get("/sessions", headers={"Host": "rebound.example"})
        assert rebound.status_code == 421
        page = {"Origin": "https://page.example"}
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        preflight = await http.options("/run_code", headers=page | asked)
        assert preflight.status_code == 405
        form = await http.post("/run_code", content=RUN, headers=page | {"content-type": "text/plain"})
        assert form.status_code == 415
        for answer in (rebound, preflight, form):
            assert not any(name.startswith("access-control") for name in answer.headers)


async def test_only_named_origins_may_call(serve_gateway: ServeGateway, gateway_executor: str) -> None:
    origins = "https://a.example"
    async with serve_gateway(executor=gateway_executor, cors_origin=origins) as served, served.client() as http:
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        for origin, status in (("https://a.example", 200), ("https://b.example", 400), ("null", 400)):
            preflight = await http.options("/run_code", headers=asked | {"Origin": origin})
            assert preflight.status_code == status
        refused = await http.get("/no-such-path", headers={"Origin": "https://a.example"})
        assert refused.headers["access-control-allow-origin"] == "https://a.example"
