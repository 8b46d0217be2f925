"""LoRA on a CPU: processor time of the embedded model's linear layers in one step of the engine.

`python -m benchmarks.lora_cpu` measures them without LoRA, with vLLM's products, and with the grouped products of
`deepmath_generator.vllm_patches.cpu.grouped_lora`, on one thread.
Results: medians in milliseconds, in benchmarks/results/lora_cpu.json.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from deepmath_generator.vllm_patches.cpu.grouped_lora import replace_products
from vllm.lora.layers import LoRAMapping
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

from deepmath.local_stack.stack import EMBEDDED_MODEL

RESULTS = Path(__file__).parent / "results" / "lora_cpu.json"
RANK = 32
SLOTS: list[int | None] = [1, 2]  # adapter id in each LoRA slot
# Adapter of each token in the step, 0 for none.
STEPS = {
    "96 tokens, one adapter": [1] * 96,
    "96 tokens, two adapters in turn": [1, 2] * 48,
    "96 tokens, none": [0] * 96,
    "2048 tokens, one adapter": [1] * 2048,
}


def layers() -> list[tuple[int, tuple[int, ...]]]:
    """Return the inputs and outputs of the linear layers, fused as by vLLM."""
    config = json.loads((EMBEDDED_MODEL / "config.json").read_text())
    width, middle, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    block = [(width, (queries, keys, keys)), (queries, (width,)), (width, (middle, middle)), (middle, (width,))]
    return block * config["num_hidden_layers"]


def median_ms(step: Callable[[], None], rounds: int) -> float:
    """Return the median processor time of a step, after a warm-up."""
    step()
    times = []
    for _ in range(rounds):
        started = time.process_time()
        step()
        times.append(time.process_time() - started)
    return round(1000 * statistics.median(times), 1)


def measure(ids: list[int], rounds: int) -> dict[str, float]:
    """Return the milliseconds of one step whose tokens use the adapters `ids`."""
    wrapper = PunicaWrapperCPU(len(ids), len(ids), "cpu")
    original = wrapper.update_metadata, wrapper.add_lora_linear
    replace_products(wrapper)
    grouped = wrapper.update_metadata, wrapper.add_lora_linear
    linear = []
    for inputs, widths in layers():
        a = tuple(torch.randn(len(SLOTS), 1, RANK, inputs) for _ in widths)
        b = tuple(torch.randn(len(SLOTS), 1, width, RANK) for width in widths)
        linear.append((torch.randn(len(ids), inputs), torch.randn(sum(widths), inputs), a, b, widths))
    mapping = LoRAMapping(tuple(ids), tuple(ids), is_prefill=True)  # always, on a CPU

    def step(products: tuple[Callable[..., None], Callable[..., None]] | None) -> None:
        if products:
            products[0](mapping, SLOTS, len(SLOTS), 0)
        for x, weight, a, b, widths in linear:
            y = x @ weight.T
            if products:
                products[1](y, x, a, b, 1.0, widths)

    return {
        "without_ms": median_ms(lambda: step(None), rounds),
        "vllm_ms": median_ms(lambda: step(original), rounds),
        "grouped_ms": median_ms(lambda: step(grouped), rounds),
    }


def main() -> None:
    """Measure all steps, print the results and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="measured steps of each kind")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with torch.inference_mode():
        results = {name: measure(ids, arguments.rounds) for name, ids in STEPS.items()}
    for name, figures in results.items():
        print(f"{name:34}" + "".join(f"{key} {value:8}  " for key, value in figures.items()))
    RESULTS.write_text(json.dumps({"rank": RANK, "threads": 1, "steps": results}, indent=2) + "\n")
    print(f"results: {RESULTS}")


if __name__ == "__main__":
    main()
