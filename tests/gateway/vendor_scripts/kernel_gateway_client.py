"""Jupyter Kernel Gateway and its client: `kernel_gateway_client.py KERNEL PORT`; prints JSON."""

import json
import subprocess
import sys
import threading
import time
import urllib.request
from typing import Any

from jupyter_kernel_client import JupyterKernelClient


def kernel_without_a_name(url: str) -> Any:
    """Start a kernel as Open WebUI does, which names none."""
    request = urllib.request.Request(f"{url}/api/kernels", data=b"{}", method="POST")
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def tour(url: str) -> dict[str, Any]:
    """Use a kernel for all that it has."""
    kernel = kernel_without_a_name(url)
    seen: dict[str, Any] = {"name": kernel["name"]}
    with JupyterKernelClient(server_url=url, token="", kernel_id=kernel["id"]) as client:
        seen["first"] = client.execute("x = 20\nprint('hello')\nx + 2")
        seen["error"] = client.execute("1 / 0")
        interrupt = threading.Timer(2.0, client.interrupt)
        interrupt.start()
        start = time.monotonic()
        seen["interrupted"] = client.execute("import time\ntime.sleep(19)")
        seen["seconds"] = time.monotonic() - start
        seen["kept"] = client.execute("x")
    return seen


def main(kernel: str, port: str) -> None:
    """Start the gateway on a port, use it, and end it."""
    settings = {"default_kernel_name": kernel, "port": port, "port_retries": 0}
    options = [f"--KernelGatewayApp.{name}={value}" for name, value in settings.items()]
    command = [sys.executable, "-m", "kernel_gateway", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as gateway:
        assert gateway.stderr
        try:
            if not any(f":{port}" in line for line in gateway.stderr):
                sys.exit("the gateway ended")
            threading.Thread(target=gateway.stderr.read, daemon=True).start()
            print(json.dumps(tour(f"http://127.0.0.1:{port}")))
        finally:
            gateway.terminate()


main(*sys.argv[1:])
