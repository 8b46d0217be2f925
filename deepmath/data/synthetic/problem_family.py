"""A family of problems: one kind of question with many instances, each with an exact answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from random import Random

Parameters = Mapping[str, int]
Draw = Callable[[Random], Parameters]
Canonical = Callable[[Parameters], tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class ProblemFamily:
    """One kind of question.

    `answer` and `working` take the parameters as keyword arguments. `wordings` and `code` are `str.format` templates
    with the parameters as fields.
    """

    name: str
    wordings: tuple[str, ...]
    """Paraphrases of the question, at least four."""
    draws: tuple[Draw, ...]
    """Draw the parameters of an instance, one function for each difficulty, the easiest first."""
    answer: Callable[..., int | Fraction]
    """Computes the exact answer."""
    code: tuple[str, ...]
    """The snippets of a reference agent trace, one per tool call. Snippets may use variables of earlier ones."""
    working: Callable[..., str]
    """Writes the solution by hand, step by step in words and digits, without the concluding sentence."""
    canonical: Canonical = field(default=lambda parameters: tuple(parameters.values()))
    """Maps parameters to a key that is equal for equivalent instances, such as those with swapped summands."""

    def question(self, parameters: Parameters, wording: int) -> str:
        """Return the question in the given wording."""
        return self.wordings[wording].format(**parameters)

    def answer_text(self, parameters: Parameters) -> str:
        """Return the answer as text: `42`, `-7` or, in lowest terms, `3/4`."""
        return str(self.answer(**parameters))

    def snippets(self, parameters: Parameters) -> tuple[str, ...]:
        """Return the Python snippets of a reference agent trace, one per tool call."""
        return tuple(snippet.format(**parameters) for snippet in self.code)

    def steps(self, parameters: Parameters) -> str:
        """Return the solution by hand."""
        return self.working(**parameters)


def uniform(*, where: Callable[[Parameters], bool] = lambda _: True, **ranges: tuple[int, int]) -> Draw:
    """Return a function that draws each parameter uniformly from its closed range until `where` holds."""

    def draw(random: Random) -> Parameters:
        while True:
            parameters = {name: random.randint(low, high) for name, (low, high) in ranges.items()}
            if where(parameters):
                return parameters

    return draw


def unordered(*names: str) -> Canonical:
    """Return a canonical key for parameters whose order does not matter: the named ones sorted, after the others."""

    def canonical(parameters: Parameters) -> tuple[int, ...]:
        rest = [value for name, value in parameters.items() if name not in names]
        return (*rest, *sorted(parameters[name] for name in names))

    return canonical
