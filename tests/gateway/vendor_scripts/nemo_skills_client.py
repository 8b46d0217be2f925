"""NeMo-Skills' client: `nemo_skills_client.py HOST PORT`, with its checkout on PYTHONPATH; prints JSON."""

import asyncio
import json
import sys
import types

# Imports the cluster tools; of the client, only proofs in Lean need it.
proofs = types.ModuleType("nemo_skills.code_execution.proof_utils")
proofs.ProofBuildConfig = proofs.determine_proof_status = proofs.prepare_predicted_proof_from_line_dict = None
sys.modules[proofs.__name__] = proofs

from nemo_skills.code_execution.sandbox import LocalSandbox  # noqa: E402


async def main(host: str, port: str) -> None:
    """Run cells, programs and a session whose variables are lost, which the client restores."""
    sandbox = LocalSandbox(host=host, port=port)
    endless = "sum(iter(int, 1))"  # in C, until it is killed
    seen = [await sandbox.execute_code("print(1)\n2 + 2")]
    for code in ("x = 20", "x + 2", "1 / 0"):
        seen.append(await sandbox.execute_code(code, session_id="a session"))
    seen.append(await sandbox.execute_code(endless, session_id="a session", timeout=1.0))
    seen.append(await sandbox.execute_code("x + 3", session_id="a session"))
    seen.append(await sandbox.execute_code("print(input())", language="python", std_input="5\n"))
    await sandbox.delete_session("a session")
    await sandbox.close()
    print(json.dumps([answer for answer, _ in seen]))


asyncio.run(main(*sys.argv[1:]))
