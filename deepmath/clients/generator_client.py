"""Client of the generator service."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable
from functools import cached_property
from pathlib import Path

from deepmath.clients.base_client import BaseClient
from deepmath.clients.model_files import ADAPTER_FILES, model_of_adapter
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.generator.v1 import generator_pb2_grpc as rpc

_INFO_DEADLINE_S = 5.0
_ADAPTER_DEADLINE_S = 120.0
_CHECKPOINT_DEADLINE_S = 1800.0  # it waits for the segments in flight
_CHUNK_BYTES = 1 << 20


class GeneratorClient(BaseClient):
    """A channel to one or more generators.

    Every method raises InvalidRequest if the generator rejects the request, Overloaded if it has no capacity and
    Unavailable if it cannot be reached. Leaving an iterator early cancels the call.
    """

    service = "generator"

    @cached_property
    def stub(self) -> rpc.GeneratorServiceStub:
        """The stub on this channel."""
        return rpc.GeneratorServiceStub(self.channel)

    def solve(
        self,
        question: str,
        *,
        samples: int = 1,
        mode: pb.Mode.ValueType = pb.MODE_AGENT,
        sampling: pb.Sampling | None = None,
        budget: pb.Budget | None = None,
        context: Iterable[pb.ChatMessage] = (),
        stop_sequences: Iterable[str] = (),
        token_texts: bool = False,
        omit_vote: bool = False,
    ) -> AsyncIterator[pb.SolveResponse]:
        """Solve `question` and yield events as they happen; the last one is the vote, if it is not omitted.

        `context` are the messages before it. A sample ends after the first of `stop_sequences` outside tool calls and
        thinking.
        """
        request = pb.SolveRequest(
            question=question,
            samples=samples,
            mode=mode,
            sampling=sampling,
            budget=budget,
            context=context,
            stop_sequences=stop_sequences,
            token_texts=token_texts,
            omit_vote=omit_vote,
        )
        return self.stream_with_retry(lambda: self.stub.Solve(request))

    def rollout(
        self,
        prompts: Iterable[pb.RolloutPrompt],
        *,
        mode: pb.Mode.ValueType = pb.MODE_AGENT,
        sampling: pb.Sampling | None = None,
        budget: pb.Budget | None = None,
        policy: pb.Policy | None = None,
    ) -> AsyncIterator[pb.RolloutResponse]:
        """Run every prompt once, all concurrently, and yield the trajectories as they finish.

        `policy` samples all segments; by default each is sampled by the policy that was loaded last.

        Raises:
            WrongOrder: `policy` is not loaded; send it again.
        """
        request = pb.RolloutRequest(prompts=prompts, mode=mode, sampling=sampling, budget=budget, policy=policy)
        return self.stream_with_retry(lambda: self.stub.Rollout(request))

    def chat(
        self,
        messages: Iterable[pb.ChatMessage],
        *,
        sampling: pb.Sampling | None = None,
        max_tokens: int | None = None,
        stop_sequences: Iterable[str] = (),
        functions: Iterable[pb.Function] = (),
        token_texts: bool = False,
    ) -> AsyncIterator[pb.ChatResponse]:
        """Continue a conversation by one turn of the model, without the agent loop; the last event is its end.

        The default of `max_tokens` is the generator's. The turn ends before the first of `stop_sequences`. The caller
        executes calls of `functions`.
        """
        request = pb.ChatRequest(
            messages=messages,
            sampling=sampling,
            max_tokens=max_tokens,
            stop_sequences=stop_sequences,
            functions=functions,
            token_texts=token_texts,
        )
        return self.stream_with_retry(lambda: self.stub.Chat(request))

    async def get_info(self, deadline_s: float = _INFO_DEADLINE_S) -> pb.GetInfoResponse:
        """Return the model, policy versions, budgets and load of one generator.

        Raises:
            Unavailable: None responded within `deadline_s`.
        """
        return await self.call_with_retry(
            lambda timeout: self.stub.GetInfo(pb.GetInfoRequest(), timeout=timeout), deadline_s
        )

    async def update_adapter(
        self,
        directory: Path,
        version: int,
        model: str | None = None,
        *,
        run: str = "",
        deadline_s: float = _ADAPTER_DEADLINE_S,
    ) -> int:
        """Upload the LoRA adapter in `directory`, in peft's format, as policy `version` of `run`; return that version.

        `model` is the base model's name as in GetInfo, by default the one in the adapter's config. The upload goes to
        one generator: use a client for each replica. It is idempotent, and retried if the response is lost or the
        generator is overloaded.

        Raises:
            InvalidRequest: The adapter is incomplete, or the generator rejected its model, rank or type.
            WrongOrder: `version` is not larger than every earlier one of `run`.
            Unavailable: It was not served within `deadline_s`.
            Overloaded: The generator had no capacity for it within `deadline_s`.
        """
        model = model or model_of_adapter(str(directory))
        files = await asyncio.to_thread(_describe, directory)
        header = pb.AdapterHeader(policy_version=version, model=model, files=files, run=run)
        response = await self.call_with_retry(
            lambda timeout: self.stub.UpdateAdapter(_messages(directory, header), timeout=timeout), deadline_s
        )
        return response.policy_version

    async def load_checkpoint(
        self, directory: Path, version: int, *, run: str = "", deadline_s: float = _CHECKPOINT_DEADLINE_S
    ) -> int:
        """Make a generator reload all its weights from `directory` as policy `version` of `run`; return that version.

        `directory` is a path on the generator's machine, below its `--checkpoint-root`. The generator first waits for
        the segments in flight. The call is idempotent.

        Raises:
            InvalidRequest: The directory is not below the root or does not hold the model's weights.
            WrongOrder: `version` is not larger than every earlier one of `run`, `run` has lost the generator to another
                run, or the generator accepts no checkpoints.
            Unavailable: It was not served within `deadline_s`.
        """
        request = pb.LoadCheckpointRequest(policy_version=version, directory=str(directory), run=run)
        response = await self.call_with_retry(
            lambda timeout: self.stub.LoadCheckpoint(request, timeout=timeout), deadline_s
        )
        return response.policy_version

    async def restore_model(self, run: str, *, deadline_s: float = _CHECKPOINT_DEADLINE_S) -> None:
        """Make a generator reload the model that it was started with, on behalf of `run`, if it has other weights.

        Raises:
            WrongOrder: `run` has lost the generator to another run.
            Unavailable: It was not served within `deadline_s`.
        """
        request = pb.LoadCheckpointRequest(run=run)
        await self.call_with_retry(lambda timeout: self.stub.LoadCheckpoint(request, timeout=timeout), deadline_s)


def _describe(directory: Path) -> list[pb.AdapterFile]:
    files = []
    for name in ADAPTER_FILES:
        with (directory / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            files.append(pb.AdapterFile(name=name, size_bytes=file.tell(), sha256=digest))
    return files


async def _messages(directory: Path, header: pb.AdapterHeader) -> AsyncIterator[pb.UpdateAdapterRequest]:
    yield pb.UpdateAdapterRequest(header=header)
    for index, described in enumerate(header.files):
        with (directory / described.name).open("rb") as file:
            while data := await asyncio.to_thread(file.read, _CHUNK_BYTES):
                yield pb.UpdateAdapterRequest(chunk=pb.AdapterChunk(file_index=index, data=data))
