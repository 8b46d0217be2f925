"""Settings that determine the weights of the embedded model."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

import torch
from training_corpus import CorpusMixture
from training_plan import ModelShape, TrainingPlan


@dataclass(frozen=True)
class BuildSettings:
    """Two builds with equal settings on one machine give the same weights, whatever their threads."""

    traces: int = 220_000
    plan: TrainingPlan = field(default_factory=TrainingPlan)
    shape: ModelShape = field(default_factory=ModelShape)
    mixture: CorpusMixture = field(default_factory=CorpusMixture)

    def facts(self) -> dict[str, Any]:
        """Return the settings and the version of torch, by name."""
        own = {"traces": self.traces, "mixture": asdict(self.mixture), "torch": str(torch.__version__)}
        return own | asdict(self.shape) | asdict(self.plan)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """Return the settings that gave these facts, which may come from JSON."""
        plan, shape = (picked(kind, facts) for kind in (TrainingPlan, ModelShape))
        mixture = {name: tuple(shares) for name, shares in facts["mixture"].items()}
        return cls(facts["traces"], TrainingPlan(**plan), ModelShape(**shape), CorpusMixture(**mixture))


def picked(kind: type[TrainingPlan] | type[ModelShape], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the facts that are fields of `kind`."""
    return {each.name: facts[each.name] for each in fields(kind)}
