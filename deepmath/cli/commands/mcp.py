"""`deepmath mcp`: Python in the sandbox and the maths agent as tools of the Model Context Protocol."""

from typing import Annotated

import typer

from deepmath.cli.lazy_group import command_app
from deepmath.cli.shared_options import Adapter, Dialect, Model, Prompt, SnippetExecutor, check_generator_options
from deepmath.integrations.mcp.stdio_server import serve_stdio
from deepmath.sdk.service_access import ServiceChoice

app = command_app()


@app.command("mcp")
def mcp_(
    generator: Annotated[
        str | None, typer.Option(help="Generator address. Default: the detached one, or start one when it is needed.")
    ] = None,
    executor: SnippetExecutor = None,
    model: Model = None,
    adapter: Adapter = None,
    prompt: Prompt = None,
    dialect: Dialect = None,
) -> None:
    """Serve tools to an MCP client on stdin and stdout.

    `python` runs code in a sandbox, whose variables live until `cleanup_session` or the end; `solve` is the maths
    agent. A client starts this command itself; `deepmath serve gateway` serves the same tools over HTTP.
    """
    check_generator_options(generator, model, adapter, prompt, dialect)
    serve_stdio(ServiceChoice(generator, executor, model, adapter, prompt, dialect, figures=True))
