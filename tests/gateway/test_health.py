"""Health checks of a running gateway."""

import httpx

from .conftest import ServedGateway, ServeGateway


async def test_health_needs_no_key_and_names_no_host(gateway: ServedGateway) -> None:
    async with gateway.client(headers={"Host": "10.1.2.3"}) as probe:
        assert {(await probe.get(path)).status_code for path in ("/healthz", "/readyz")} == {200}


async def test_a_draining_gateway_lives_and_is_not_ready(serve_gateway: ServeGateway, gateway_executor: str) -> None:
    async with serve_gateway(executor=gateway_executor, health_listen="127.0.0.1:0") as served:
        address = served.server.health_address
        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as probe, served.client() as http:
            served.server.report_not_serving()
            for client in (probe, http):
                assert (await client.get("/healthz")).status_code == 200
                assert (await client.get("/readyz")).status_code == 503
            assert (await probe.get("/v1/models")).status_code == 404
