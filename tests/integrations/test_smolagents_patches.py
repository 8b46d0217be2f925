"""Canaries: the private parts of smolagents and OpenInference that `*_patches` rely on are as they were."""

import inspect

import pytest
from smolagents import CodeAgent, LocalPythonExecutor, Model
from smolagents.agents import MultiStepAgent
from smolagents.local_python_executor import InterpreterError

from deepmath.integrations.smolagents.smolagents_patches.print_outputs import PRINT_OUTPUTS
from deepmath.integrations.smolagents.smolagents_patches.refused_import import refused_import_message


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("_run_stream", ["self", "task", "max_steps", "images"]),
        ("_step_stream", ["self", "memory_step"]),
        ("_finalize_step", ["self", "memory_step"]),
    ],
)
def test_step_loop_has_its_private_methods(method: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(MultiStepAgent, method)).parameters) == parameters


def test_run_calls_the_private_loop_with_these_arguments() -> None:
    source = inspect.getsource(MultiStepAgent.run)
    assert source.count("self._run_stream(task=self.task, max_steps=max_steps, images=images)") == 2
    assert "self.interrupt_switch = False" in source


def test_private_loop_steps_and_finalizes_by_the_private_methods() -> None:
    source = inspect.getsource(MultiStepAgent._run_stream)
    assert "self._step_stream(" in source
    assert "self._finalize_step(" in source


def test_code_agent_recognizes_a_refused_import_by_its_text() -> None:
    source = inspect.getsource(CodeAgent._step_stream)
    assert '"Import of " in error_msg and " is not allowed" in error_msg' in source


def test_refused_import_has_the_text_of_the_local_interpreter() -> None:
    executor = LocalPythonExecutor(["numpy"])
    with pytest.raises(InterpreterError) as error:
        executor("import os")
    assert refused_import_message("os", executor.authorized_imports) in str(error.value)


def test_code_agent_reads_the_output_of_a_failed_snippet_by_this_key() -> None:
    assert f'self.python_executor.state["{PRINT_OUTPUTS}"]' in inspect.getsource(CodeAgent._step_stream)


def test_span_wrappers_take_a_tracer_and_wrap_as_wrapt_does() -> None:
    from deepmath.integrations.smolagents.openinference_patches import span_wrappers

    for wrapper in (span_wrappers.StepWrapper, span_wrappers.ModelWrapper, span_wrappers.ModelStreamWrapper):
        assert list(inspect.signature(wrapper).parameters) == ["tracer"]
        assert list(inspect.signature(wrapper.__call__).parameters) == ["self", "wrapped", "instance", "args", "kwargs"]


def test_instrumentor_finds_classes_by_name_in_the_modules_of_smolagents() -> None:
    """If it wrapped subclasses elsewhere too, `instrument` would wrap ours twice."""
    from openinference.instrumentation.smolagents import SmolagentsInstrumentor

    class Elsewhere(Model):
        def generate(self, *_: object, **__: object) -> None:
            pass

    SmolagentsInstrumentor().instrument()
    try:
        assert not hasattr(Elsewhere.generate, "__wrapped__")
    finally:
        SmolagentsInstrumentor().uninstrument()
