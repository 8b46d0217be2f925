"""MathAgent in smolagents' GradioUI."""

from smolagents.gradio_ui import GradioUI, stream_to_gradio
from support.scripted_engine import CODE

from deepmath.integrations.smolagents import MathAgent

TASK = "What is 6 * 7?"


def test_messages_of_a_run_have_code_output_and_answer(model) -> None:
    messages = list(stream_to_gradio(MathAgent(model), TASK))
    texts = [message.content for message in messages]
    titles = [message.metadata.get("title") for message in messages]
    assert f"```python\n{CODE}\n```" in texts
    assert "🛠️ Used tool python_interpreter" in titles
    assert texts[titles.index("📝 Execution Logs")] == "```bash\n42\n"
    assert texts[-1] == "**Final answer:**\n42\n"
    assert any("Output tokens" in text for text in texts)


def test_text_is_streamed_as_it_is_generated(model) -> None:
    agent = MathAgent(model, stream_outputs=True)
    messages = list(GradioUI(agent)._stream_response(TASK, []))
    assert "Final answer" in messages[-1][-1].content
    assert next(stream_to_gradio(agent, TASK)).startswith("<tool_call>")


async def test_user_interface_is_built(model) -> None:  # within a loop: gradio leaves open those that it makes
    agent = MathAgent(model, name="maths", description="Solves maths problems.")
    assert GradioUI(agent).create_app().title == "Maths"
