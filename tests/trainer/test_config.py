"""What a run may be told, and what is said of mistakes."""

import pytest
from deepmath_trainer.run_config import RECIPES, load, read

from deepmath.errors import InvalidRequest

TINY = read("tiny-math")


def mistakes(*overrides: str, text: str = TINY) -> str:
    with pytest.raises(InvalidRequest) as refusal:
        load(text, overrides)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("optimiser.steps=3", "did you mean optimizer?"),
        ("optimizer.step=3", "did you mean optimizer.steps?"),
        ("lora.rnk=4", "did you mean lora.rank?"),
        ("rollout.temperature.begin=1", "rollout.temperature.begin is no setting"),
    ],
)
def test_unknown_key_is_refused_with_the_nearest(override: str, nearest: str) -> None:
    assert nearest in mistakes(override)


def test_all_mistakes_are_told_at_once() -> None:
    said = mistakes("rollout.groups=many", "reward.code_use=sometimes", "optimizer.lr=1")
    assert all(name in said for name in ("rollout.groups is 'many'", "reward.code_use", "optimizer.lr is no setting"))


def test_value_of_a_wrong_type_is_refused_with_the_value() -> None:
    assert "rollout.samples is 'eight'" in mistakes("rollout.samples=eight")


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["rollout.groups=7"], "cannot be cut into"),
        (["optimizer.micro_batch=48"], "cannot be cut into"),
        (["launch.processes=3"], "each process trains on whole groups"),
        (["optimizer.updates=2", "optimizer.micro_batch=32", "optimizer.steps=5"], "optimizer.steps is 5"),
        (["optimizer.updates=2", "optimizer.micro_batch=32", "checkpoint.every=5"], "checkpoint.every is 5"),
        (["lora=null"], "set checkpoint_root"),
        (["loss.reference_every=10"], "there is no reference to move"),
    ],
)
def test_impossible_arithmetic_is_refused_with_what_to_change(overrides: list[str], reason: str) -> None:
    assert reason in mistakes(*overrides)


def test_batch_is_cut_into_micro_batches() -> None:
    config = load(TINY, ["rollout.groups=4", "rollout.samples=8", "optimizer.micro_batch=4", "optimizer.updates=2"])
    assert (config.batch, config.accumulation) == (32, 4)


def test_later_override_wins_and_numbers_may_be_written_as_people_do() -> None:
    assert load(TINY, ["optimizer.learning_rate=1e-3", "optimizer.learning_rate=2e-5"]).optimizer.learning_rate == 2e-5


@pytest.mark.parametrize("text", ["", "- a", "a: [", "model"])
def test_text_that_is_no_mapping_is_refused(text: str) -> None:
    assert "configuration" in mistakes(text=text)


@pytest.mark.parametrize("override", ["steps", "=3", "model.size=3", "name='"])
def test_override_that_sets_nothing_is_refused(override: str) -> None:
    assert override in mistakes(override)


@pytest.mark.parametrize("recipe", ["tiny-maths", "x", "../recipes/tiny-math", ""])
def test_recipe_that_is_not_there_is_refused_with_what_is(recipe: str) -> None:
    with pytest.raises(InvalidRequest, match="tiny-math"):
        read(recipe)


def test_whole_configuration_says_the_same_again() -> None:
    config = load(TINY, ["seed=3"])
    assert load(config.to_yaml()) == config


@pytest.mark.parametrize("recipe", sorted(path.stem for path in RECIPES.glob("*.yaml")))
def test_recipe_is_valid(recipe: str) -> None:
    assert load(read(recipe)).optimizer.steps > 0
