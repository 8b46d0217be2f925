"""Run configurations are parsed with overrides, and mistakes are explained."""

import pytest
from deepmath_trainer.run_config_parser import RECIPES, parse_config, read_recipe

from deepmath.errors import InvalidRequest

TINY = read_recipe("tiny-math")


def mistakes(*overrides: str, text: str = TINY) -> str:
    with pytest.raises(InvalidRequest) as refusal:
        parse_config(text, overrides)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("optimiser.steps=3", "did you mean `optimizer`?"),
        ("optimizer.step=3", "did you mean `optimizer.steps`?"),
        ("lora.rnk=4", "did you mean `lora.rank`?"),
        ("rollout.temperature.begin=1", "unknown setting `rollout.temperature.begin`"),
    ],
)
def test_unknown_key_is_rejected_with_the_nearest_known_one(override: str, nearest: str) -> None:
    assert nearest in mistakes(override)


def test_all_mistakes_are_reported_at_once() -> None:
    message = mistakes("rollout.groups=many", "reward.code_use=sometimes", "optimizer.lr=1")
    assert all(
        part in message for part in ("rollout.groups is 'many'", "reward.code_use", "unknown setting `optimizer.lr`")
    )


def test_value_of_a_wrong_type_is_rejected_with_the_value() -> None:
    assert "rollout.samples is 'eight'" in mistakes("rollout.samples=eight")


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["rollout.groups=7"], "cannot be divided into"),
        (["optimizer.micro_batch=48"], "cannot be divided into"),
        (["launch.processes=3"], "each process trains on whole groups"),
        (["optimizer.updates=2", "optimizer.micro_batch=32", "optimizer.steps=5"], "optimizer.steps is 5"),
        (["optimizer.updates=2", "optimizer.micro_batch=32", "checkpoint.every=5"], "checkpoint.every is 5"),
        (["lora=null"], "set checkpoint_root"),
        (["loss.reference_every=10"], "there is no reference to update"),
    ],
)
def test_impossible_batch_arithmetic_is_rejected_with_the_setting_to_change(overrides: list[str], reason: str) -> None:
    assert reason in mistakes(*overrides)


def test_batch_is_divided_into_micro_batches() -> None:
    config = parse_config(
        TINY, ["rollout.groups=4", "rollout.samples=8", "optimizer.micro_batch=4", "optimizer.updates=2"]
    )
    assert (config.batch, config.accumulation) == (32, 4)


def test_later_override_wins_and_exponents_need_no_decimal_point() -> None:
    assert (
        parse_config(TINY, ["optimizer.learning_rate=1e-3", "optimizer.learning_rate=2e-5"]).optimizer.learning_rate
        == 2e-5
    )


@pytest.mark.parametrize("text", ["", "- a", "a: [", "model"])
def test_text_that_is_not_a_mapping_is_rejected(text: str) -> None:
    assert "configuration" in mistakes(text=text)


@pytest.mark.parametrize("override", ["steps", "=3", "model.size=3", "name='"])
def test_malformed_override_is_rejected(override: str) -> None:
    assert override in mistakes(override)


@pytest.mark.parametrize("recipe", ["tiny-maths", "x", "../recipes/tiny-math", ""])
def test_unknown_recipe_is_rejected_with_the_known_ones(recipe: str) -> None:
    with pytest.raises(InvalidRequest, match="tiny-math"):
        read_recipe(recipe)


def test_written_configuration_parses_to_the_same_one() -> None:
    config = parse_config(TINY, ["seed=3"])
    assert parse_config(config.to_yaml()) == config


@pytest.mark.parametrize("recipe", sorted(path.stem for path in RECIPES.glob("*.yaml")))
def test_recipe_is_valid(recipe: str) -> None:
    assert parse_config(read_recipe(recipe)).optimizer.steps > 0


def laughs() -> str:
    """Return a few lines of YAML that are a value of 9 ** 8 texts."""
    lines = [f"  a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 9)]
    return "model: x\nseed:\n  a0: &a0 [x]\n" + "".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        "model: 2001-99-99",
        f"model: {'9' * 5000}",
        "[" * 5000,
        "model: !!python/name:os.system",
        "model: \x1b",
        laughs(),
    ],
)
def test_hostile_yaml_is_one_short_message(text: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse_config(text)
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize("value", ["2001-99-99", "9" * 5000, "[" * 5000, "\x00"])
def test_hostile_override_is_rejected(value: str) -> None:
    with pytest.raises(InvalidRequest, match="not valid YAML"):
        parse_config("model: x", [f"seed={value}"])
