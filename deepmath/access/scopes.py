"""The token scopes that permit each RPC method."""

from deepmath.access.tokens import SCOPES, Scope

HEALTH = "grpc.health.v1.Health"
_REFLECTION = "grpc.reflection.v1alpha.ServerReflection"

# Scopes by service, and by method where they differ. Any one of them suffices.
_SERVICES: dict[str, tuple[Scope, ...]] = {
    "deepmath.executor.v1.ExecutorService": ("execute",),
    "deepmath.generator.v1.GeneratorService": ("generate",),
    "deepmath.trainer.v1.TrainerService": ("train",),
    _REFLECTION: SCOPES,
}
_METHODS: dict[str, tuple[Scope, ...]] = {
    "/deepmath.generator.v1.GeneratorService/GetInfo": ("generate", "update-adapter"),
    "/deepmath.generator.v1.GeneratorService/UpdateAdapter": ("update-adapter",),
    "/deepmath.generator.v1.GeneratorService/LoadCheckpoint": ("update-adapter",),
}


def scopes_for(method: str) -> tuple[Scope, ...]:
    """Return the scopes of which one permits a call of `method` (/SERVICE/METHOD); none if no client may call it."""
    return _METHODS.get(method) or _SERVICES.get(service_of(method), ())


def service_of(method: str) -> str:
    """Return the full service name in `method`, /SERVICE/METHOD."""
    return method.rpartition("/")[0].removeprefix("/")
