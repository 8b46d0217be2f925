"""`launch.dtype: auto` is bfloat16 where the processor multiplies it, and float32 elsewhere."""

from pathlib import Path

import pytest
import torch
from deepmath_trainer.run_config import LaunchConfig
from deepmath_trainer.weight_type import weight_type


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({}, "float32"),
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False}, "float32"),
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True}, "bfloat16"),
        ({"neon": True, "bf16": True}, "bfloat16"),
    ],
)
def test_auto_on_a_cpu_depends_on_its_instructions(monkeypatch, features: dict[str, bool], expected: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    assert weight_type(LaunchConfig(dtype="auto", cpu=True)) == expected


def test_auto_agrees_with_the_kernel_about_this_machine() -> None:
    flags = Path("/proc/cpuinfo").read_text().split()
    has_instructions = bool({"avx512_bf16", "amx_bf16", "bf16"} & set(flags))
    assert (weight_type(LaunchConfig(dtype="auto", cpu=True)) == "bfloat16") == has_instructions


@pytest.mark.parametrize("given", ["float32", "bfloat16"])
def test_a_type_that_is_given_is_used(monkeypatch, given) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert weight_type(LaunchConfig(dtype=given, cpu=True)) == given
