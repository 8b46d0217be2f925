"""How long a server keeps a connection, and what it takes from one."""

from deepmath.serving.service_config import ServiceConfig

_SHORTEST_PING_MS = 10_000  # our clients ping every 20 s
_PING_MS, _PONG_MS = 60_000, 20_000


def connection_options(config: ServiceConfig) -> list[tuple[str, int]]:
    """Return gRPC's options for what `config` says of connections."""
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.max_allowed_incoming_connections", config.max_connections),
        ("grpc.max_concurrent_streams", config.max_streams),
        ("grpc.server_handshake_timeout_ms", _ms(config.handshake_seconds)),
        ("grpc.max_connection_idle_ms", _ms(config.connection_idle_seconds)),
        ("grpc.max_connection_age_ms", _ms(config.connection_age_seconds)),
        ("grpc.max_connection_age_grace_ms", _ms(config.connection_grace_seconds)),
        # Who pings more often than that is sent away; who does not answer pings has gone, and its calls end.
        ("grpc.http2.min_ping_interval_without_data_ms", _SHORTEST_PING_MS),
        ("grpc.keepalive_time_ms", _PING_MS),
        ("grpc.keepalive_timeout_ms", _PONG_MS),
    ]


def _ms(seconds: float) -> int:
    return min(round(1000 * seconds), (1 << 31) - 1)
