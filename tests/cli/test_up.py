"""`deepmath up`."""

import asyncio
import signal
import sys

import httpx
import pytest


@pytest.mark.slow
async def test_up_prints_working_addresses_and_stops_on_ctrl_c(deepmath, free_port) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from deepmath.cli.main import main; main()"),
        *("up", "--executor", f"127.0.0.1:{free_port}", "--generator", "127.0.0.1:0", "--gateway", "127.0.0.1:0"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    addresses: dict[str, str] = {}
    async with asyncio.timeout(240):
        while len(addresses) < 3:
            name, _, address = (await process.stdout.readline()).decode().strip().partition(" ")
            if name in ("executor", "generator", "gateway"):
                addresses[name] = address.strip()
    ended = await deepmath("exec", "-", "--executor", addresses["executor"], stdin="6 * 7")
    assert ended.out == "42\n"
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(f"{addresses['gateway']}/readyz")).status_code == 200
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(60):
        assert await process.wait() == 0
