"""What the generator can be told."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from deepmath.serving.service_config import ServiceConfig


class GeneratorConfig(ServiceConfig):
    """One model served by vLLM, and the agent loop around it."""

    model_config = SettingsConfigDict(env_prefix="DEEPMATH_GENERATOR_")

    model: str = Field(description="Directory of a model, or its hub name.")
    adapter: str | None = Field(
        None, description="Directory of a LoRA adapter, as peft writes it: policy version 1. Else version 0, the model."
    )
    executor: str | None = Field(
        None, description="Address of the executors: HOST:PORT, unix:PATH, dns:///NAME:PORT, or IP:PORT,IP:PORT,..."
    )
    prompt: str | None = Field(None, description="Prompt template: a name in services/generator/prompts, or a file.")
    max_message_bytes: int = Field(16 << 20, gt=0, description="Longest message accepted from a client, in bytes.")

    max_trajectories: int = Field(512, gt=0, description="Trajectories in flight at once; others wait.")
    max_waiting: int = Field(8192, gt=0, description="Trajectories that may wait before RESOURCE_EXHAUSTED.")
    executor_patience_s: float = Field(
        60.0, gt=0, description="Seconds to look for an executor before a trajectory is given up as failed."
    )
    tool_output_bytes: int = Field(4096, gt=0, description="Bytes of a snippet's output that the model gets to read.")

    temperature: float = Field(0.6, ge=0, le=2, description="Where a request names none.")
    top_p: float = Field(0.95, gt=0, le=1, description="Where a request names none; 1 is off.")
    top_k: int = Field(20, ge=0, description="Where a request names none; 0 is off.")

    max_steps: int = Field(50, gt=0, description="Default budget: steps of a trajectory.")
    max_step_tokens: int = Field(3000, gt=0, description="Default budget: tokens of a step.")
    max_tokens: int = Field(20_000, gt=0, description="Default budget: tokens of a trajectory, the tools' included.")
    snippet_ms: int = Field(20_000, gt=0, description="Default budget: milliseconds of a snippet.")
    executor_ms: int = Field(300_000, gt=0, description="Default budget: milliseconds of all snippets together.")
    wall_ms: int = Field(1_800_000, gt=0, description="Default budget: wall-clock milliseconds of a trajectory.")

    dtype: str = Field("auto", description="Type of the weights, as vLLM names it.")
    context_length: int | None = Field(None, gt=0, description="Prompt and trajectory together; default: the model's.")
    max_batch: int = Field(256, gt=0, description="Sequences that vLLM runs in one batch.")
    tensor_parallel: int = Field(1, gt=0, description="GPUs that one layer is split over.")
    pipeline_parallel: int = Field(1, gt=0, description="GPUs, or nodes, that the layers are split over.")
    ray: bool = Field(False, description="Spread the model over the machines of the Ray cluster that this one is in.")
    gpu_memory: float = Field(0.9, gt=0, le=1, description="Share of a GPU's memory for weights and cache.")
    cpu_cache_gib: int = Field(
        1, gt=0, description="Memory for the key-value cache on a machine without a GPU, in GiB."
    )
    eager: bool = Field(False, description="Do not compile graphs: starts sooner, runs slower.")
    max_lora_rank: int = Field(32, ge=1, le=512, description="Largest rank of an adapter.")
    adapters: bool = Field(True, description="Take LoRA adapters from a trainer; costs some memory for each.")
    max_adapters: int = Field(
        3, ge=2, description="Adapters loaded at once: the current one and those that segments in flight still use."
    )
    max_adapter_bytes: int = Field(2 << 30, gt=0, description="Longest file of an adapter that is taken.")
    checkpoint_root: str | None = Field(
        None, description="Directory below which a trainer may name checkpoints to load; default: none are taken."
    )
