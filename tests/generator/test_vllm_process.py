"""What a process of vLLM does as it begins, tried in a process that a generator might have started."""

import json
import os
import subprocess
import sys

from deepmath_generator.vllm_plugin import JSON_LOG

LOG = """
import logging
from deepmath_generator.vllm_plugin import begin
begin()
logging.getLogger("vllm.x").info("hello")
"""


def logged(**variables: str) -> str:
    environment = os.environ | {"DEEPMATH_GENERATOR_PID": "1"} | variables
    ended = subprocess.run(
        [sys.executable, "-c", LOG], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    return ended.stderr.splitlines()[-1] if ended.stderr else ""


def test_process_of_a_generator_that_logs_json_does_so_too() -> None:
    line = json.loads(logged(**{JSON_LOG: "info"}))
    assert (line["service"], line["logger"], line["message"]) == ("generator", "vllm.x", "hello")


def test_process_of_a_generator_that_logs_text_is_left_to_vllm() -> None:
    assert "{" not in logged()
