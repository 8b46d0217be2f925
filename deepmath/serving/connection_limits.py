"""gRPC channel arguments that limit a server's connections."""

from deepmath.serving.grpc_config import GrpcServiceConfig

_MIN_PING_INTERVAL_MS = 10_000  # our clients ping every 20 s
_PING_INTERVAL_MS, _PING_TIMEOUT_MS = 60_000, 20_000
_MAX_MS = (1 << 31) - 1
# For the plaintext health port, which anyone may call: probes open a connection, ask once and close it.
_HEALTH_CONNECTIONS, _HEALTH_STREAMS, _HEALTH_MESSAGE_BYTES = 256, 8, 1024
_HEALTH_IDLE_MS, _HEALTH_AGE_MS, _HEALTH_GRACE_MS = 10_000, 60_000, 1_000


def connection_options(config: GrpcServiceConfig) -> list[tuple[str, int]]:
    """Return the channel arguments for the connection settings of `config`."""
    return [
        *_options(config),
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_allowed_incoming_connections", config.max_connections),
        ("grpc.max_concurrent_streams", config.max_streams),
        ("grpc.max_connection_idle_ms", _milliseconds(config.connection_idle_seconds)),
        ("grpc.max_connection_age_ms", _milliseconds(config.connection_age_seconds)),
        ("grpc.max_connection_age_grace_ms", _milliseconds(config.connection_grace_seconds)),
    ]


def health_connection_options(config: GrpcServiceConfig) -> list[tuple[str, int]]:
    """Return the channel arguments of the plaintext health endpoint."""
    return [
        *_options(config),
        ("grpc.max_receive_message_length", _HEALTH_MESSAGE_BYTES),
        ("grpc.max_allowed_incoming_connections", _HEALTH_CONNECTIONS),
        ("grpc.max_concurrent_streams", _HEALTH_STREAMS),
        ("grpc.max_connection_idle_ms", _HEALTH_IDLE_MS),
        ("grpc.max_connection_age_ms", _HEALTH_AGE_MS),
        ("grpc.max_connection_age_grace_ms", _HEALTH_GRACE_MS),
    ]


def _options(config: GrpcServiceConfig) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.server_handshake_timeout_ms", _milliseconds(config.handshake_seconds)),
        # The windows stay at 64 KiB until a handler reads: with the probe, gRPC lets a fast client send megabytes ahead
        # on each stream.
        ("grpc.http2.bdp_probe", 0),
        # A client that pings more often is disconnected; one that does not answer pings is gone, and its calls end.
        ("grpc.http2.min_ping_interval_without_data_ms", _MIN_PING_INTERVAL_MS),
        ("grpc.keepalive_time_ms", _PING_INTERVAL_MS),
        ("grpc.keepalive_timeout_ms", _PING_TIMEOUT_MS),
    ]


def _milliseconds(seconds: float) -> int:
    return min(round(1000 * seconds), _MAX_MS)
