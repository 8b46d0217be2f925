"""A family of problems: one kind of question with many instances, each with an exact answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from random import Random

Parameters = Mapping[str, int]
Draw = Callable[[Random], Parameters]
Canonical = Callable[[Parameters], tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Family:
    """One kind of question.

    `answer` and `working` are called with the parameters as keyword arguments. `wordings` and `code` are templates for
    `str.format` over the same names.
    """

    name: str
    wordings: tuple[str, ...]
    """Ways to ask the same thing, at least four."""
    draw: Draw
    """Draws the parameters of one instance."""
    answer: Callable[..., int | Fraction]
    """The exact answer."""
    code: tuple[str, ...]
    """The snippets of a good agent trace, one per tool call; a later one may use the variables of an earlier one."""
    working: Callable[..., str]
    """The solution by hand, step by step in words and digits, without the closing sentence."""
    canonical: Canonical = field(default=lambda parameters: tuple(parameters.values()))
    """Equal for two instances exactly where one is the other reworded, such as with its summands swapped."""

    def question(self, parameters: Parameters, wording: int) -> str:
        """The text of the question in one of its wordings."""
        return self.wordings[wording].format(**parameters)

    def answer_text(self, parameters: Parameters) -> str:
        """The answer as it is written: `42`, `-7` or, in lowest terms, `3/4`."""
        return str(self.answer(**parameters))

    def snippets(self, parameters: Parameters) -> tuple[str, ...]:
        """The Python of a good agent trace, one text per tool call."""
        return tuple(snippet.format(**parameters) for snippet in self.code)

    def steps(self, parameters: Parameters) -> str:
        """The solution by hand."""
        return self.working(**parameters)


def uniform(*, where: Callable[[Parameters], bool] = lambda _: True, **ranges: tuple[int, int]) -> Draw:
    """Draws each parameter from its closed range until `where` holds."""

    def draw(random: Random) -> Parameters:
        while True:
            parameters = {name: random.randint(low, high) for name, (low, high) in ranges.items()}
            if where(parameters):
                return parameters

    return draw


def unordered(*names: str) -> Canonical:
    """For parameters whose order does not matter: the named ones sorted, after the others."""

    def canonical(parameters: Parameters) -> tuple[int, ...]:
        rest = [value for name, value in parameters.items() if name not in names]
        return (*rest, *sorted(parameters[name] for name in names))

    return canonical
