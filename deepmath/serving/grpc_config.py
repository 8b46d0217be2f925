"""Settings of a gRPC service."""

from pydantic import Field

from deepmath.serving.service_config import ServiceConfig


class GrpcServiceConfig(ServiceConfig):
    """The settings that all gRPC services share beside those of `ServiceConfig`."""

    max_streams: int = Field(
        1024, gt=0, description="Maximum concurrent calls per connection; more wait at the client."
    )
    connection_age_seconds: float = Field(
        600.0,
        gt=0,
        allow_inf_nan=False,
        description="Accept no new calls on a connection of this age. Behind one address for several replicas (a "
        "ClusterIP), new replicas get calls from then on.",
    )
    connection_grace_seconds: float = Field(
        14_400.0, gt=0, allow_inf_nan=False, description="Time for the calls on such a connection to finish."
    )
    max_message_fields: int = Field(
        100_000, gt=0, description="Maximum number of fields in a message from a client, nested ones included."
    )
