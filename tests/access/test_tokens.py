"""Tokens: scopes, limits, reloading, and no trace of them in logs."""

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2_grpc
from support.secured import Authority, Served, add_token, serving

from deepmath.access.scopes import scopes_for
from deepmath.access.tokens import find_client, hash_token, parse_clients, read_clients
from deepmath.clients import ExecutorClient, TrainerClient
from deepmath.errors import Forbidden, InvalidRequest, Overloaded, Unauthenticated
from deepmath.executor.v1 import executor_pb2
from deepmath.generator.v1 import generator_pb2
from deepmath.trainer.v1 import trainer_pb2

_RELOAD_SECONDS = 20


@dataclass
class Guarded:
    """An executor with TLS and tokens."""

    served: Served
    tokens: Path
    tls: Path

    def client(self, token_file: Path | None = None) -> ExecutorClient:
        return self.served.client(self.tls, token_file)


@pytest.fixture(scope="module")
async def guarded(tmp_path_factory) -> AsyncIterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    tokens, authority = folder / "tokens.toml", Authority(folder)
    add_token(tokens, "first", "execute")
    tls = authority.issue("executor")
    async with serving("executor", folder, "--tls", tls, "--tokens", tokens) as served:
        yield Guarded(served, tokens, authority.issue("a-certificate"))


async def add(guarded: Guarded, name: str, *scopes: str, **limits: float) -> Path:
    """Add a client, and wait until the executor has reloaded the file."""
    file = add_token(guarded.tokens, name, *scopes, force=True, **limits)
    async with asyncio.timeout(_RELOAD_SECONDS), guarded.client(file) as client:
        while True:
            try:
                await client.get_info()
            except Unauthenticated:
                await asyncio.sleep(0.2)
            except Forbidden:
                return file
            else:
                return file


async def test_client_with_a_token_is_served_and_identified_by_its_name(guarded):
    async with guarded.client(await add(guarded, "alice", "execute")) as client:
        assert (await client.execute("6 * 7")).value == "42"
    assert await guarded.served.audit_of("alice")


async def test_missing_token_is_rejected_with_the_remedy(guarded):
    async with guarded.client() as client:
        with pytest.raises(Unauthenticated, match="missing token: set DEEPMATH_TOKEN_FILE"):
            await client.get_info()
        with pytest.raises(Unauthenticated):
            await client.execute("1")


async def test_unknown_token_is_rejected(guarded, tmp_path):
    (tmp_path / "token").write_text("deepmath_guess")
    async with guarded.client(tmp_path / "token") as client:
        with pytest.raises(Unauthenticated, match="unknown or revoked token"):
            await client.get_info()


async def test_missing_scope_is_rejected_and_named(guarded):
    async with guarded.client(await add(guarded, "trainer", "train", "generate")) as client:
        with pytest.raises(Forbidden, match="trainer may not call GetInfo: its token lacks the scope execute"):
            await client.get_info()
        with pytest.raises(Forbidden, match="trainer may not call Session"):
            await client.execute("1")


async def test_command_line_reports_a_rejection_in_one_line(guarded, deepmath, monkeypatch):
    monkeypatch.setenv("DEEPMATH_TLS", str(guarded.tls))
    ended = await deepmath("exec", "-", "--executor", guarded.served.address, stdin="6 * 7")
    assert (ended.status, ended.out) == (1, "")
    assert "missing token: set DEEPMATH_TOKEN_FILE" in ended.err
    assert len(ended.err.splitlines()) == 1
    monkeypatch.setenv("DEEPMATH_TOKEN_FILE", str(await add(guarded, "console", "execute")))
    ended = await deepmath("exec", "-", "--executor", guarded.served.address, stdin="6 * 7")
    assert (ended.status, ended.out) == (0, "42\n")


async def test_health_needs_no_token_and_reflection_does(guarded):
    command = (sys.executable, "-m", "deepmath.serving.health_check", "--tls", str(guarded.tls), guarded.served.address)
    assert await (await asyncio.create_subprocess_exec(*command)).wait() == 0
    async with guarded.client() as client:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(client.channel)
        with pytest.raises(grpc.aio.AioRpcError) as rejected:
            await stub.ServerReflectionInfo().read()  # a request might be written after the end
        assert rejected.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_calls_over_the_concurrency_limit_are_rejected_until_one_ends(guarded):
    file = await add(guarded, "narrow", "execute", max_calls=1)
    async with guarded.client(file) as client:
        async with client.session() as session:
            await session.run("x = 1")
            with pytest.raises(Overloaded, match="narrow has 1 calls in flight") as rejected:
                await client.get_info(deadline_s=0.1)
            assert 500 <= rejected.value.retry_after_ms <= 750
        await client.get_info()


async def test_calls_over_the_rate_are_rejected_with_a_retry_delay(guarded):
    file = await add(guarded, "slow", "execute", calls_per_second=0.5, burst=2)
    async with guarded.client(file) as client:
        calls = [client.get_info(deadline_s=0.1) for _ in range(3)]
        ends = await asyncio.gather(*calls, return_exceptions=True)
        (rejected, *_) = [end for end in ends if isinstance(end, Overloaded)]
        assert "slow exceeds its call rate; retry later" in str(rejected)
        assert 0 < rejected.retry_after_ms <= 2000


async def test_replaced_token_is_revoked_and_an_open_client_reloads_the_new_one(guarded):
    file = await add(guarded, "bob", "execute")
    old = file.with_name("bob.old")
    old.write_text(file.read_text())
    async with guarded.client(file) as client, guarded.client(old) as late:
        await client.get_info()
        await add(guarded, "bob", "execute")
        async with asyncio.timeout(_RELOAD_SECONDS):
            while True:
                try:
                    await client.get_info()
                except Unauthenticated:
                    await asyncio.sleep(0.2)
                else:
                    break
        with pytest.raises(Unauthenticated):
            await late.get_info()


async def test_invalid_change_of_the_file_is_logged_and_changes_no_permissions(guarded):
    file = await add(guarded, "carol", "execute")
    good = guarded.tokens.read_text()
    guarded.tokens.write_text(good + "\n[clients.carol]\n")
    async with guarded.client(file) as client, guarded.client() as nobody:
        async with asyncio.timeout(_RELOAD_SECONDS):
            while "is not valid TOML" not in guarded.served.log.read_text():
                await client.get_info()
                await asyncio.sleep(0.2)
        await client.get_info()
        with pytest.raises(Unauthenticated):
            await nobody.get_info()
    guarded.tokens.write_text(good)


async def test_log_has_neither_token_nor_hash(guarded):
    file = await add(guarded, "dora", "execute")
    async with guarded.client(file) as client:
        await client.execute("1")
    token, log = file.read_text().strip(), guarded.served.log.read_text()
    assert token not in log
    assert hash_token(token) not in log
    assert hash_token(token) in guarded.tokens.read_text()
    assert token not in guarded.tokens.read_text()


async def test_trainer_requires_its_own_scope(tmp_path):
    tokens = tmp_path / "tokens.toml"
    mine, others = add_token(tokens, "mine", "train"), add_token(tokens, "others", "generate", "execute")
    async with serving("trainer", tmp_path, "--runs", tmp_path / "runs", "--tokens", tokens) as served:
        async with TrainerClient(served.address, token_file=mine) as client:
            assert await client.list_runs() == []
        async with TrainerClient(served.address, token_file=others) as client:
            with pytest.raises(Forbidden, match="others may not call ListRuns: its token lacks the scope train"):
                await client.list_runs()


@pytest.mark.parametrize("target", ["192.0.2.1:7301", "executor.example:7301", "dns:///executor:7301"])
def test_token_does_not_leave_the_machine_unencrypted(tmp_path, target):
    (tmp_path / "token").write_text("deepmath_secret")
    with pytest.raises(InvalidRequest, match="in the clear; set DEEPMATH_TLS") as rejected:
        ExecutorClient(target, token_file=tmp_path / "token")
    assert "deepmath_secret" not in str(rejected.value)


@pytest.mark.parametrize("text", ["", "two words", "é"])
def test_file_without_a_token_is_rejected(tmp_path, text):
    (tmp_path / "token").write_text(text)
    with pytest.raises(InvalidRequest, match="token"):
        ExecutorClient("127.0.0.1:1", token_file=tmp_path / "token")


def test_every_method_of_the_contracts_has_a_scope():
    needed = {
        f"{service.name.removesuffix('Service')}/{method.name}": set(scopes_for(f"/{service.full_name}/{method.name}"))
        for module in (executor_pb2, generator_pb2, trainer_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert all(needed.values())
    assert needed["Executor/Session"] == {"execute"}
    assert needed["Generator/Solve"] == needed["Generator/Rollout"] == {"generate"}
    assert needed["Generator/UpdateAdapter"] == needed["Generator/LoadCheckpoint"] == {"update-adapter"}
    assert needed["Generator/GetInfo"] == {"generate", "update-adapter"}
    assert needed["Trainer/StartRun"] == {"train"}


def test_unknown_method_is_permitted_to_no_client():
    assert scopes_for("/deepmath.unknown.v1.Service/Method") == ()


_HASH = "a" * 64


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[clients.a]\nscopes = ['train']", "clients.a.sha256: Field required"),
        (f"[clients.a]\nsha256 = '{_HASH}'\nscopes = []", "clients.a.scopes"),
        (f"[clients.a]\nsha256 = '{_HASH}'\nscopes = ['all']", "clients.a.scopes"),
        ("[clients.a]\nsha256 = 'deepmath_secret'\nscopes = ['train']", "clients.a.sha256: String should match"),
        (f"[clients.a]\nsha256 = '{_HASH}'\nscopes = ['train']\nmax_call = 1", "clients.a.max_call: Extra inputs"),
        (f"[clients.a]\nsha256 = '{_HASH}'\nscopes = ['train']\ncalls_per_second = nan", "calls_per_second"),
        ("[client.a]", "client: Extra inputs"),
        ("[clients", "is not valid TOML"),
        (
            f"[clients.a]\nsha256 = '{_HASH}'\nscopes = ['train']\n[clients.b]\nsha256 = '{_HASH}'\nscopes = ['train']",
            "two clients have the same sha256",
        ),
    ],
)
def test_mistake_in_a_tokens_file_is_reported_without_its_value(text, message):
    with pytest.raises(InvalidRequest, match=message) as rejected:
        parse_clients(text, Path("tokens.toml"))
    assert "deepmath_secret" not in str(rejected.value)
    assert "\n" not in str(rejected.value)


def test_client_is_found_by_its_token_only():
    text = f"[clients.a]\nsha256 = '{hash_token('one')}'\nscopes = ['train']\n"
    clients = parse_clients(text + f"[clients.b]\nsha256 = '{hash_token('two')}'\nscopes = ['train']", Path("t"))
    assert [find_client(token, clients) for token in ("one", "two", "three", "", "é")] == ["a", "b", None, None, None]


def test_integer_of_too_many_digits_is_rejected(tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text(f"x = {'9' * 5000}\n")
    with pytest.raises(InvalidRequest, match="is not valid TOML"):
        read_clients(file)
