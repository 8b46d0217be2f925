"""Configuration of the generator service."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from deepmath.dialects import DIALECTS
from deepmath.dialects.dialect_setting import DialectName
from deepmath.serving.grpc_config import GrpcServiceConfig
from deepmath.serving.path_settings import NameOrPath


class GeneratorConfig(GrpcServiceConfig):
    """Serve one model with vLLM and the agent loop."""

    model_config = SettingsConfigDict(env_prefix="DEEPMATH_GENERATOR_")

    model: NameOrPath = Field(description="Directory of a model, or its name on the Hugging Face Hub.")
    adapter: NameOrPath | None = Field(
        None, description="Directory of a LoRA adapter in peft's format, served as policy version 1."
    )
    executor: str | None = Field(
        None, description="Address of the executors: HOST:PORT, unix:PATH, dns:///NAME:PORT, or IP:PORT,IP:PORT,..."
    )
    prompt: NameOrPath | None = Field(
        None, description="Prompt template: a TOML file, or the name of a built-in one (default: the model's own)."
    )
    dialect: DialectName | None = Field(
        None,
        description=f"How the model writes calls and reads outputs: {', '.join(DIALECTS)}, or one that another package "
        "offers (default: by the prompt template, the model's name and chat template).",
    )
    max_message_bytes: int = Field(16 << 20, gt=0, description="Maximum size of a request message, in bytes.")

    max_trajectories: int = Field(512, gt=0, description="Maximum number of trajectories running at once.")
    max_waiting: int = Field(
        8192, gt=0, description="Maximum number of queued trajectories; more are rejected with RESOURCE_EXHAUSTED."
    )
    executor_patience_s: float = Field(
        60.0, gt=0, description="Timeout for reaching an executor before a trajectory fails, in seconds."
    )
    tool_output_bytes: int = Field(
        4096, gt=0, description="Maximum size of a snippet's output in the model's context, in bytes."
    )

    vote_seconds: float = Field(
        2.0, gt=0, description="Timeout for comparing two answers of a vote in a sandbox, in seconds."
    )

    temperature: float | None = Field(
        None, ge=0, le=2, description="Default sampling temperature (default: the model's, else 0.6)."
    )
    top_p: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Default top-p (nucleus) sampling; 1 disables it (default: the model's, else 0.95).",
    )
    top_k: int | None = Field(
        None, ge=0, description="Default top-k sampling; 0 disables it (default: the model's, else 20)."
    )

    max_steps: int = Field(50, gt=0, description="Default budget: steps per trajectory.")
    max_step_tokens: int = Field(3000, gt=0, description="Default budget: tokens per step.")
    max_tokens: int = Field(20_000, gt=0, description="Default budget: tokens per trajectory, tool output included.")
    snippet_ms: int = Field(20_000, gt=0, description="Default budget: wall-clock time per snippet, in milliseconds.")
    executor_ms: int = Field(
        300_000, gt=0, description="Default budget: wall-clock time of all snippets together, in milliseconds."
    )
    wall_ms: int = Field(
        1_800_000, gt=0, description="Default budget: wall-clock time per trajectory, in milliseconds."
    )

    dtype: str = Field("auto", description="Data type of the weights, as in vLLM.")
    context_length: int | None = Field(
        None,
        gt=0,
        description="Maximum tokens of prompt and trajectory together (default: the model's, or as many as the KV "
        "cache has room for).",
    )
    max_batch: int = Field(256, gt=0, description="Maximum number of sequences in one vLLM batch.")
    tensor_parallel: int = Field(1, gt=0, description="Number of GPUs for tensor parallelism.")
    pipeline_parallel: int = Field(1, gt=0, description="Number of GPUs or nodes for pipeline parallelism.")
    ray: bool = Field(False, description="Distribute the model over the Ray cluster of this machine.")
    gpu_memory: float = Field(0.9, gt=0, le=1, description="Fraction of GPU memory for weights and KV cache.")
    cpu_cache_gib: int = Field(1, gt=0, description="Size of the KV cache on a machine without a GPU, in GiB.")
    cpu_threads: int | None = Field(
        None, gt=0, description="Threads of the model on a machine without a GPU (default: all cores but one)."
    )
    eager: bool | None = Field(
        None,
        description="Skip graph compilation: faster start, slower sampling (default: on a CPU, where compiled graphs "
        "are slower with an adapter).",
    )
    max_lora_rank: int = Field(32, ge=1, le=512, description="Maximum LoRA rank of an adapter.")
    adapters: bool = Field(True, description="Accept LoRA adapters from a trainer; reserves memory for each.")
    max_adapters: int = Field(
        3, ge=2, description="Maximum number of adapters loaded at once: the current one and those still in use."
    )
    max_adapter_bytes: int = Field(2 << 30, gt=0, description="Maximum size of an adapter's weights, in bytes.")
    upload_seconds: float = Field(
        120.0, gt=0, allow_inf_nan=False, description="Time for all of an adapter to arrive, in seconds."
    )
    checkpoint_root: NameOrPath | None = Field(
        None, description="Directory below which a trainer may load checkpoints (default: checkpoints are rejected)."
    )
