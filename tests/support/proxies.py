"""Envoy and HAProxy with the configurations of examples/proxies, changed in addresses and certificates only."""

import asyncio
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from support.ports import free_ports

EXAMPLES = Path(__file__).parents[2] / "examples" / "proxies"
EXECUTORS, GENERATORS = "executor.deepmath.svc", "generator.deepmath.svc"
Kind = Literal["envoy", "haproxy"]
Change = Callable[[str], str]
"""Changes the text of a configuration."""


@dataclass(frozen=True)
class Upstream:
    """The services behind a proxy: the ports of the two names, and the DNS server that knows their addresses."""

    executor_port: int
    generator_port: int
    name_server: str
    tls: Path | None = None
    """The proxy's own certificate; None for plaintext."""


@dataclass
class Proxy:
    """A running proxy and the addresses that it serves on."""

    process: asyncio.subprocess.Process
    executor: str
    generator: str
    admin_port: int


def program(kind: Kind) -> str | None:
    """Return the path of a proxy's program; None if it is not installed."""
    return shutil.which(kind, path=f"{Path(sys.executable).parent}:/usr/sbin") or shutil.which(kind)


@asynccontextmanager
async def proxy(
    kind: Kind, folder: Path, upstream: Upstream, ports: list[int] | None = None, change: Change = str
) -> AsyncIterator[Proxy]:
    """Run a proxy for the duration of the block, by default on unused `ports`: executor, generator, administration."""
    executor, generator, admin = ports or free_ports(3)
    configure = _envoy if kind == "envoy" else _haproxy
    file = folder / f"{kind}-{executor}.{'yaml' if kind == 'envoy' else 'cfg'}"
    file.write_text(change(configure(upstream, executor, generator, admin)))
    path = program(kind)
    assert path
    options = ["-c", str(file), "--concurrency", "2", "--disable-hot-restart"] if kind == "envoy" else ["-f", str(file)]
    with file.with_suffix(".log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(path, *options, stdout=log, stderr=log)
    try:
        async with asyncio.timeout(30):
            while not await _listens(executor):
                assert process.returncode is None, file.with_suffix(".log").read_text()
                await asyncio.sleep(0.05)
        yield Proxy(process, f"localhost:{executor}", f"localhost:{generator}", admin)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


def _envoy(upstream: Upstream, executor: int, generator: int, admin: int) -> str:
    text = (EXAMPLES / "envoy.yaml").read_text()
    config = yaml.safe_load(text.replace("/etc/deepmath/tls", str(upstream.tls)))
    config["admin"]["address"]["socket_address"]["port_value"] = admin
    for listener, port in zip(config["static_resources"]["listeners"], (executor, generator), strict=True):
        listener["address"]["socket_address"] |= {"address": "127.0.0.1", "port_value": port}
    ports = upstream.executor_port, upstream.generator_port
    host, dns_port = upstream.name_server.split(":")
    for cluster, port in zip(config["static_resources"]["clusters"], ports, strict=True):
        endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        endpoint["address"]["socket_address"]["port_value"] = port
        cluster["typed_dns_resolver_config"] = {
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
                "resolvers": [{"socket_address": {"address": host, "port_value": int(dns_port)}}],
            },
        }
    if upstream.tls is None:
        _remove(config, "transport_socket")
    return yaml.safe_dump(config, sort_keys=False)


def _remove(value: Any, key: str) -> None:
    """Remove `key` from all mappings in `value`."""
    if isinstance(value, dict):
        value.pop(key, None)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _remove(inner, key)


def _haproxy(upstream: Upstream, executor: int, generator: int, admin: int) -> str:
    text = (EXAMPLES / "haproxy.cfg").read_text()
    for old, new in (
        ("/etc/deepmath/tls", str(upstream.tls)),
        ("0.0.0.0:7301", f"127.0.0.1:{executor}"),
        ("0.0.0.0:7302", f"127.0.0.1:{generator}"),
        (f"{EXECUTORS}:7301", f"{EXECUTORS}:{upstream.executor_port}"),
        (f"{GENERATORS}:7302", f"{GENERATORS}:{upstream.generator_port}"),
        ("parse-resolv-conf", f"nameserver test {upstream.name_server}"),
    ):
        assert old in text, f"haproxy.cfg has no {old}"
        text = text.replace(old, new)
    return text if upstream.tls else re.sub(r"\bssl crt .*", "proto h2", text)


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
