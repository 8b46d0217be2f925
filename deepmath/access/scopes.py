"""Which scopes let a client call what."""

from deepmath.access.tokens import SCOPES, Scope

HEALTH = "grpc.health.v1.Health"
_REFLECTION = "grpc.reflection.v1alpha.ServerReflection"

# A service's scope, and those of its methods that have others. One of them is enough.
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
    """Return the scopes of which a client needs one to call `method`, /SERVICE/METHOD; none if nobody may."""
    return _METHODS.get(method) or _SERVICES.get(service_of(method), ())


def service_of(method: str) -> str:
    """Return the full name of the service that `method`, /SERVICE/METHOD, is of."""
    return method.rpartition("/")[0].removeprefix("/")
