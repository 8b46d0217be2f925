"""Pretraining of the embedded model: the packed forward pass, its independence of threads, and resumption."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

SHAPE = {"layers": 2, "hidden": 16, "intermediate": 24, "heads": 4, "kv_heads": 2, "head_dim": 8}
PLAN = {"steps": 5, "tokens_per_step": 600, "micro_batch_tokens": 200, "warm_up_steps": 2}


@pytest.fixture(scope="module")
def examples(corpus: ModuleType) -> list[Any]:
    """Examples of 3 to 40 tokens, the first half of which is not in the loss."""
    lengths = [3 + index * 7 % 38 for index in range(60)]
    return [
        corpus.TrainingExample(
            [(index * 31 + token * token) % 700 for token in range(length)],
            [float(token >= length // 2) for token in range(length)],
            "computed" if index % 3 else "by hand",
        )
        for index, length in enumerate(lengths)
    ]


@pytest.fixture
def new_training(build_module: Callable[[str], ModuleType], examples: list[Any], tokenizer: Any) -> Callable[..., Any]:
    """Makes an unstarted training of a tiny model."""
    pretraining, settings = build_module("pretraining"), build_module("training_plan")

    def new(threads: int = 1, muon: bool = True) -> Any:
        plan = settings.TrainingPlan(**PLAN, muon=muon)
        model = pretraining.new_model(tokenizer, settings.ModelShape(**SHAPE), plan.seed)
        return pretraining.Pretraining(model, examples, plan, threads)

    return new


def weights(training: Any) -> dict[str, bytes]:
    return {name: parameter.detach().numpy().tobytes() for name, parameter in training.model.named_parameters()}


def finished(training: Any) -> dict[str, bytes]:
    list(training.run())
    return weights(training)


def test_packed_forward_pass_is_that_of_qwen3(
    build_module: Callable[[str], ModuleType], new_training: Callable[..., Any], examples: list[Any]
) -> None:
    model = new_training().model
    packed = build_module("packed_forward").PackedForward(model, torch.float32)
    expected, actual = [], []
    for batch in build_module("packed_batches").pack(examples, 200):
        with torch.no_grad():
            actual.append(packed.losses(batch)[1])
    with torch.no_grad():
        for example in sorted(examples, key=lambda example: len(example.ids)):
            logits = model(torch.tensor([example.ids])).logits[0, :-1]
            losses = torch.nn.functional.cross_entropy(logits, torch.tensor(example.ids[1:]), reduction="none")
            expected.append(losses[torch.tensor(example.weights[1:]) > 0])
    torch.testing.assert_close(torch.cat(actual), torch.cat(expected))


@pytest.mark.parametrize("muon", [True, False])
def test_weights_do_not_depend_on_the_number_of_threads(new_training: Callable[..., Any], muon: bool) -> None:
    assert finished(new_training(1, muon)) == finished(new_training(2, muon)) != weights(new_training(1, muon))


@pytest.mark.parametrize("muon", [True, False])
def test_training_resumed_after_any_step_gives_the_same_weights(
    new_training: Callable[..., Any], muon: bool, tmp_path: Any
) -> None:
    expected = finished(new_training(muon=muon))
    training = new_training(muon=muon)
    for progress in training.run(every=1):
        torch.save(training.state(), tmp_path / "state")
        resumed = new_training(muon=muon)
        resumed.restore(torch.load(tmp_path / "state", weights_only=True))
        assert finished(resumed) == expected
        assert resumed.tokens >= progress.tokens


def test_first_steps_draw_only_traces_that_compute(
    build_module: Callable[[str], ModuleType], examples: list[Any]
) -> None:
    drawn = list(build_module("packed_batches").steps(examples, 2, 4, 300, 1))
    assert all(example.kind == "computed" for step in drawn[:2] for example in step)
    assert any(example.kind == "by hand" for step in drawn[2:] for example in step)
    assert all(sum(len(example.ids) for example in step) >= 300 for step in drawn)


def test_learning_rate_warms_up_and_decays_to_zero(build_module: Callable[[str], ModuleType]) -> None:
    plan = build_module("training_plan").TrainingPlan(steps=100, warm_up_steps=10, decay_share=0.5, learning_rate=1.0)
    rates = [plan.rate(step) for step in range(1, 101)]
    assert rates[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert rates[10:50] == [1.0] * 40
    assert rates[50:] == pytest.approx([(100 - step) / 50 for step in range(50, 100)])


def test_held_out_scores_count_examples_predicted_exactly(
    build_module: Callable[[str], ModuleType], new_training: Callable[..., Any], examples: list[Any]
) -> None:
    held_out_scores = build_module("held_out_scores").held_out_scores
    scores = held_out_scores(new_training().model, examples, 200)
    assert scores.keys() == {"by hand", "computed"}
    assert all(score.exact == 0 for score in scores.values())
    silent = [type(example)(example.ids, [0.0] * len(example.ids), example.kind) for example in examples]
    silent[0].weights[-1] = silent[1].weights[-1] = 1.0  # one token of each kind
    assert all(score.exact > 0.9 for score in held_out_scores(new_training().model, silent, 200).values())
