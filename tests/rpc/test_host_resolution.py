"""Host names in targets, and their addresses."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from support.name_server import NAME, name_server

from deepmath.rpc.address_watcher import RESOLVE_SECONDS, AddressWatcher
from deepmath.rpc.host_resolution import HostTarget, parse_host_target, resolve, uses_http_proxy


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("executor:7301", HostTarget("executor", 7301)),
        ("dns:executor:7301", HostTarget("executor", 7301)),
        ("dns:///executor.deepmath.svc:7301", HostTarget("executor.deepmath.svc", 7301)),
        ("dns://127.0.0.1:5353/executor:7301", HostTarget("executor", 7301, "127.0.0.1:5353")),
        ("dns://[::1]:53/executor:7301", HostTarget("executor", 7301, "[::1]:53")),
        ("dns://10.0.0.1/executor:7301", HostTarget("executor", 7301, "10.0.0.1")),
    ],
)
def test_host_name_is_recognised(target, expected) -> None:
    assert parse_host_target(target) == expected


@pytest.mark.parametrize(
    "target",
    [
        *(
            "127.0.0.1:1",
            "[::1]:1",
            "dns:///127.0.0.1:1",
            "127.0.0.1:1,127.0.0.2:1",
            "ipv4:127.0.0.1:1",
            "ipv6:[::1]:1",
        ),
        *("unix:/run/socket", "unix:name", "unix:1", "xds:///executor:1", "dns:///executor", "dns://server/executor:1"),
        *("", ":1", "executor:", "executor:123456", "executor:1,other:1"),
    ],
)
def test_target_without_a_host_name_is_left_to_grpc(target) -> None:
    assert parse_host_target(target) is None


async def test_both_versions_of_addresses_are_found() -> None:
    async with name_server("127.0.0.3", "127.0.0.2", "::1") as names:
        target = HostTarget(NAME, 7301, names.address)
        assert await asyncio.to_thread(resolve, target) == ("127.0.0.2:7301", "127.0.0.3:7301", "[::1]:7301")
        names.addresses = ["::1"]
        assert await asyncio.to_thread(resolve, target) == ("[::1]:7301",)


async def test_unresolvable_names_are_an_operating_system_error() -> None:
    async with name_server() as names:
        with pytest.raises(OSError, match=NAME):
            await asyncio.to_thread(resolve, HostTarget(NAME, 1, names.address))
    for host in ("a..b", "x" * 70, "nowhere.invalid"):
        with pytest.raises(OSError):  # noqa: PT011 - the message is the system's
            await asyncio.to_thread(resolve, HostTarget(host, 1))


def test_system_resolves_localhost() -> None:
    assert "127.0.0.1:7301" in resolve(HostTarget("localhost", 7301))


def test_proxy_of_the_environment_resolves_names_that_it_is_not_exempt_from(monkeypatch) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert not uses_http_proxy("executor.deepmath.svc")
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    assert uses_http_proxy("executor.deepmath.svc")
    monkeypatch.setenv("no_proxy", "localhost,.svc")
    assert not uses_http_proxy("executor.deepmath.svc")
    assert uses_http_proxy("executor.example")


class Names:
    """Resolution in the test's hands."""

    def __init__(self, *answers: tuple[str, ...] | Exception) -> None:
        self.answers, self.asked = list(answers), 0

    def __call__(self, _: HostTarget) -> tuple[str, ...]:
        self.asked += 1
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_last_addresses_are_kept_through_failures_of_any_kind() -> None:
    names = Names(("1",), OSError("away"), ValueError("a defect"), ("1",), ("1", "2"))
    watcher = AddressWatcher(HostTarget("x", 1), 0.01, names)
    until(lambda: watcher.addresses == ("1",))
    first = watcher.addresses
    until(lambda: names.asked >= 4)
    assert watcher.addresses is first or watcher.addresses == ("1", "2")
    until(lambda: watcher.addresses == ("1", "2"))
    watcher.close()


def test_refresh_resolves_before_the_interval_ends_and_close_stops() -> None:
    names = Names(("1",))
    watcher = AddressWatcher(HostTarget("refreshed", 1), 3600, names)
    until(lambda: names.asked == 1)
    watcher.refresh()
    until(lambda: names.asked == 2)
    watcher.close()
    until(lambda: not any(thread.name == "addresses of refreshed" for thread in threading.enumerate()))
    assert names.asked == 2


def test_new_addresses_are_used_within_a_minute_by_default() -> None:
    cached_s, connection_s = 30, 5  # CoreDNS's default, and a slow handshake
    assert RESOLVE_SECONDS + cached_s + connection_s < 60
