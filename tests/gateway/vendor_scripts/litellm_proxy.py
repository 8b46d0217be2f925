"""LiteLLM's proxy for a gateway, and a client of it: `litellm_proxy.py URL MODEL PORT`; prints JSON.

The proxy is LiteLLM's own command in a process of its own.
"""

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import openai

CONFIG = """
model_list:
  - model_name: maths
    litellm_params: {{model: openai/{model}, api_base: {url}/v1, api_key: key}}
litellm_settings: {{telemetry: false}}
"""
KEY = f"sk-{secrets.token_hex(32)}"
MESSAGES = [{"role": "user", "content": "What is the greatest common divisor of 84 and 126?"}]


def wait_until_ready(url: str, proxy: subprocess.Popen) -> None:
    """Wait until the proxy answers, or raise if it has ended."""
    while proxy.poll() is None:
        try:
            if httpx.get(f"{url}/health/liveliness", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise ConnectionError(f"the proxy ended with status {proxy.returncode}")


def tour(url: str) -> dict:
    """Return what a client of the proxy gets."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        create = client.chat.completions.create
        whole = create(model="maths", messages=MESSAGES, seed=1)
        chunks = list(create(model="maths", messages=MESSAGES, seed=1, stream=True))
        try:
            create(model="maths", messages=MESSAGES, logprobs=True, top_logprobs=5)
            error = 200
        except openai.APIStatusError as refusal:
            error = refusal.status_code
    return {
        "content": whole.choices[0].message.content,
        "streamed": "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices),
        "tokens": whole.usage.completion_tokens,
        "error": error,
    }


if __name__ == "__main__":
    gateway, model, port = sys.argv[1:]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(CONFIG.format(model=model, url=gateway))
        command = Path(sys.executable).with_name("litellm")
        options = ["--config", str(config), "--host", "127.0.0.1", "--port", port]
        # Its prices are not fetched; without a key it would not start.
        local = os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": KEY}
        with subprocess.Popen([str(command), *options], stdout=sys.stderr, env=local) as proxy:
            try:
                wait_until_ready(url, proxy)
                print(json.dumps(tour(url)))
            finally:
                proxy.terminate()
