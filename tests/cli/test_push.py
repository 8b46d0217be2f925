"""`deepmath push`, against a local server with the hub's HTTP API."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

TOKEN = "hf_nobody_may_read_this"


class Hub(BaseHTTPRequestHandler):
    """Accepts every file within the commit, and keeps the commit."""

    committed: dict[str, bytes]
    status = 200

    def do_GET(self) -> None:
        self.answer({"id": "someone/tuned"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Authorization"] != f"Bearer {TOKEN}" or self.status != 200:
            self.answer({"error": "no"}, self.status if self.status != 200 else 401)
        elif self.path.endswith("/repos/create"):
            self.answer({"url": "http://127.0.0.1/someone/tuned"})
        elif "/preupload/" in self.path:
            paths = [file["path"] for file in json.loads(body)["files"]]
            self.answer({"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.committed[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer(
                {"success": True, "commitOid": "0" * 40, "commitUrl": "http://127.0.0.1/someone/tuned/commit/0"}
            )
        else:
            self.answer({})

    def answer(self, body: dict[str, Any], status: int = 200) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Iterator[type[Hub]]:
    kind = type("OwnHub", (Hub,), {"committed": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    yield kind
    server.shutdown()
    server.server_close()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    adapter = tmp_path / "runs" / "lesson" / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text('{"r": 32}')
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    (adapter / "README.md").write_text("# tuned\n")
    (tmp_path / "runs" / "early").mkdir()
    return tmp_path / "runs"


async def test_adapter_of_a_run_is_uploaded_completely(deepmath, hub, runs) -> None:
    ended = await deepmath("push", "lesson", "someone/tuned", "--runs", str(runs))
    assert ended.status == 0, ended.err
    assert "someone/tuned/commit" in ended.out
    assert hub.committed["adapter_model.safetensors"] == b"weights"
    assert set(hub.committed) == {"adapter_config.json", "adapter_model.safetensors", "README.md"}


async def test_folder_is_accepted_in_place_of_a_run(deepmath, hub, runs) -> None:
    ended = await deepmath("push", str(runs / "lesson" / "adapter"), "someone/tuned")
    assert ended.status == 0, ended.err
    assert hub.committed["README.md"] == b"# tuned\n"


async def test_forbidden_token_is_reported_without_the_token(deepmath, hub, runs) -> None:
    hub.status = 403
    ended = await deepmath("push", "lesson", "someone/tuned", "--runs", str(runs))
    assert ended.status == 2
    assert "HF_TOKEN" in ended.err
    assert TOKEN not in ended.err + ended.out
    assert ended.err.count("\n") == 1


async def test_missing_token_is_reported_before_anything_is_sent(deepmath, hub, runs, monkeypatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    ended = await deepmath("push", "lesson", "someone/tuned", "--runs", str(runs))
    assert ended.status == 2
    assert "HF_TOKEN" in ended.err
    assert hub.committed == {}


async def test_unreachable_hub_has_exit_status_1(deepmath, hub, runs, monkeypatch, free_port) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free_port}")
    ended = await deepmath("push", "lesson", "someone/tuned", "--runs", str(runs))
    assert ended.status == 1
    assert f"127.0.0.1:{free_port}" in ended.err


@pytest.mark.parametrize(("run", "reason"), [("early", "no adapter yet"), ("lessen", "no run lessen")])
async def test_run_without_an_adapter_is_rejected(deepmath, hub, runs, run: str, reason: str) -> None:
    ended = await deepmath("push", run, "someone/tuned", "--runs", str(runs))
    assert ended.status == 2
    assert reason in ended.err


async def test_invalid_repository_name_is_rejected(deepmath, hub, runs) -> None:
    ended = await deepmath("push", "lesson", "a/b/c", "--runs", str(runs))
    assert ended.status == 2
    assert "a/b/c" in ended.err
