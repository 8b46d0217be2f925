"""A DNS server on loopback whose records the test changes. Clients name it as `dns://SERVER/NAME:PORT`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

NAME = "executor.test"
_TYPES = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}


class NameServer(asyncio.DatagramProtocol):
    """Answers with the `records` of a name; with NXDOMAIN while there are none, with SERVFAIL while it is `failing`."""

    def __init__(self) -> None:
        self.records: dict[str, list[str]] = {}
        self.failing = False
        self.address = ""
        self._transport: asyncio.DatagramTransport

    @property
    def addresses(self) -> list[str]:
        """The addresses of NAME."""
        return self.records.get(NAME, [])

    @addresses.setter
    def addresses(self, addresses: list[str]) -> None:
        self.records[NAME] = addresses

    def target(self, port: int) -> str:
        """Return the target of a client."""
        return f"dns://{self.address}/{NAME}:{port}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # whose class is not the documented one
        self.address = "{}:{}".format(*transport.get_extra_info("sockname"))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        if self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif not (addresses := self.records.get(query.question[0].name.to_text(omit_final_dot=True), [])):
            response.set_rcode(dns.rcode.NXDOMAIN)
        else:
            question = query.question[0]
            version = _TYPES.get(question.rdtype)
            found = [address for address in addresses if ip_address(address).version == version]
            if found:
                response.answer.append(dns.rrset.from_text(question.name, 1, "IN", question.rdtype, *found))
        self._transport.sendto(response.to_wire(), addr)


@asynccontextmanager
async def name_server(*addresses: str) -> AsyncIterator[NameServer]:
    """Serve NAME with `addresses` for the duration of the block."""
    server = NameServer()
    server.addresses = list(addresses)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: server, local_addr=("127.0.0.1", 0))
    try:
        yield server
    finally:
        transport.close()
