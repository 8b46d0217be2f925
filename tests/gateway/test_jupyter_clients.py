"""The Jupyter kernel under its vendors' front ends, in an environment without any package of ours."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deepmath.integrations.jupyter.kernel_spec import install_kernel_spec
from deepmath.local_stack.stack import LocalStack
from deepmath.sandbox.png_image import is_png

pytestmark = pytest.mark.vendors
PLOT = "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([n * n for n in range(10)])\nplt.show()"


@pytest.fixture(scope="module")
async def jupyter_folders(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, str]]:
    """Variables with which Jupyter finds the kernel, and writes to a temporary folder only."""
    prefix = tmp_path_factory.mktemp("jupyter")
    async with LocalStack(arguments={"executor": ["--preload=plots"]}) as stack:
        install_kernel_spec([f"--executor={stack.executor}"], prefix=prefix)
        yield {
            "JUPYTER_PATH": str(prefix / "share" / "jupyter"),
            **{f"JUPYTER_{kind}_DIR": str(prefix / kind) for kind in ("CONFIG", "DATA", "RUNTIME")},
            "IPYTHONDIR": str(Path(prefix) / "ipython"),
        }


async def test_nbclient_runs_a_notebook_with_a_plot(vendor_environment, jupyter_folders) -> None:
    cells = ("x = 20", PLOT, "print('hello')\nx + 2", "1 / 0", "import random\nrandom._os._exit(1)")
    outputs = await vendor_environment("jupyter").run("notebook_client.py", "deepmath", *cells, env=jupyter_folders)
    none, (figure,), (hello, value), (error,), (lost,) = json.loads(outputs)
    assert none == []
    assert figure["output_type"] == "display_data"
    assert is_png(base64.b64decode(figure["data"]["image/png"]))
    assert (hello["name"], hello["text"]) == ("stdout", "hello\n")
    assert value["data"] == {"text/plain": "22"}
    assert (error["ename"], error["evalue"]) == ("ZeroDivisionError", "division by zero")
    assert "variables are lost" in lost["evalue"]


async def test_kernel_gateway_uses_the_kernel_by_default(vendor_environment, jupyter_folders, free_port) -> None:
    arguments = ("kernel_gateway_client.py", "deepmath", str(free_port))
    seen = json.loads(await vendor_environment("jupyter").run(*arguments, env=jupyter_folders))
    assert seen["name"] == "deepmath"
    assert [output["output_type"] for output in seen["first"]["outputs"]] == ["stream", "execute_result"]
    assert seen["error"]["status"] == seen["interrupted"]["status"] == "error"
    assert seen["interrupted"]["outputs"][0]["ename"] == "KeyboardInterrupt"
    assert seen["seconds"] < 15
    assert seen["kept"]["outputs"][0]["data"]["text/plain"] == "20"
