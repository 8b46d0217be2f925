"""Identity of callers without authentication."""

from deepmath_executor.caller import Caller


class FakeContext:
    """The servicer context of a client that names itself `trainer`."""

    def __init__(self, peer: str) -> None:
        self._peer = peer

    def peer(self) -> str:
        return self._peer

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return (("deepmath-client", "trainer"),)


def test_caller_is_a_name_and_a_host_whatever_its_port():
    callers = {Caller.of(FakeContext(f"ipv4:10.0.0.1:{port}")) for port in (1, 2)}
    assert callers == {Caller("ipv4:10.0.0.1", "trainer")}
    assert Caller.of(FakeContext("ipv6:%5B::1%5D:7")) == Caller("ipv6:%5B::1%5D", "trainer")
    assert Caller.of(FakeContext("unix:")) == Caller("unix", "trainer")
