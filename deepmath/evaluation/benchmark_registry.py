"""Registry of benchmarks: well-known ones by name, and any dataset by its columns."""

from difflib import get_close_matches

from deepmath.data.reasoning_gym.gym_source import GymSource, is_gym_source
from deepmath.errors import InvalidRequest
from deepmath.evaluation.benchmark import SYNTHETIC, Benchmark, BenchmarkSplit
from deepmath.user_files import user_path

_MOST_SUGGESTED = 3

# Columns and splits as in the datasets' cards, read in November 2026 at these revisions where a card names one:
# openai/gsm8k e53f048, HuggingFaceH4/aime_2024 2fe88a2, MathArena/aime_2026 2548a41, MathArena/hmmt_feb_2025 caf7304,
# MathArena/hmmt_feb_2026 afb530a, MathArena/hmmt_nov_2025 (as hmmt_feb_2025), math-ai/amc23 80815d3,
# Hothan/OlympiadBench 91184b5 and github.com/OpenBMB/OlympiadBench 1289b12, and OpenEvals/IMO-AnswerBench with the
# columns of github.com/google-deepmind/superhuman a02069e, imobench/answerbench_v2.csv.
#
# hle-math is filtered to mathematics without images. OlympiadBench's subset is open-ended, text only, mathematics, in
# English, competitions. Its prompt for mathematics has no `context`, and its gold answers have no `unit`
# (inference/code/evaluators/evaluator.py).
BENCHMARKS = {
    one.name: one
    for one in (
        Benchmark("gsm8k", (BenchmarkSplit("openai/gsm8k", "main"),), problem="question"),
        Benchmark("gsm8k-train", (BenchmarkSplit("openai/gsm8k", "main", "train"),), problem="question"),
        Benchmark("math500", (BenchmarkSplit("HuggingFaceH4/MATH-500"),), id="unique_id"),
        Benchmark("aime2024", (BenchmarkSplit("HuggingFaceH4/aime_2024", split="train"),), id="id"),
        Benchmark(
            "aime2025",
            (
                BenchmarkSplit("opencompass/AIME2025", "AIME2025-I"),
                BenchmarkSplit("opencompass/AIME2025", "AIME2025-II"),
            ),
            problem="question",
        ),
        Benchmark("aime2026", (BenchmarkSplit("MathArena/aime_2026", split="train"),), id="problem_idx"),
        Benchmark("hmmt-feb-2025", (BenchmarkSplit("MathArena/hmmt_feb_2025", split="train"),), id="problem_idx"),
        Benchmark("hmmt-nov-2025", (BenchmarkSplit("MathArena/hmmt_nov_2025", split="train"),), id="problem_idx"),
        Benchmark("hmmt-feb-2026", (BenchmarkSplit("MathArena/hmmt_feb_2026", split="train"),), id="problem_idx"),
        Benchmark("amc2023", (BenchmarkSplit("math-ai/amc23"),), problem="question", id="id"),
        Benchmark(
            "olympiadbench",
            (BenchmarkSplit("Hothan/OlympiadBench", "OE_TO_maths_en_COMP", "train"),),
            problem="question",
            answer="final_answer",
            id="id",
        ),
        Benchmark(
            "imo-answerbench",
            (BenchmarkSplit("OpenEvals/IMO-AnswerBench", split="train"),),
            problem="Problem",
            answer="Short Answer",
            id="Problem ID",
        ),
        Benchmark(
            "hle-math",
            (BenchmarkSplit("cais/hle"),),
            problem="question",
            id="id",
            filters={"category": "Math", "image": ""},
        ),
        Benchmark(
            "openmathreasoning-tir",
            (BenchmarkSplit("nvidia/OpenMathReasoning", split="tir"),),
            answer="expected_answer",
            filters={"problem_type": "has_answer_extracted"},
        ),
        Benchmark("synthetic", (SYNTHETIC,)),
    )
}


def find_benchmark(name: str, split: str = "test") -> Benchmark:
    """Return the benchmark for `name`: `math500`, `math500=FOLDER` for a copy of it, a file, or a hub name.

    `reasoning-gym:TASK` or a mix is a benchmark as well, see `GymSource`. `split` is that of a dataset which is not in
    the registry.

    Raises:
        InvalidRequest: there is no benchmark of that name.
    """
    if is_gym_source(name):
        return Benchmark(GymSource.parse(name).text, ())
    known, _, copy = name.partition("=")
    if known in BENCHMARKS:
        return BENCHMARKS[known].copy_at(copy) if copy else BENCHMARKS[known]
    path = user_path(name)
    if not path.exists() and "/" not in known:
        raise InvalidRequest(f"{known!r} is neither a benchmark nor a file; {_hint(known)}")
    return Benchmark(path.stem if path.exists() else name, (BenchmarkSplit(name, split=split),))


def _hint(name: str) -> str:
    """Return the benchmarks whose names are close, whatever the case and the separators of `name`."""
    plain = {one.replace("-", ""): one for one in BENCHMARKS}
    written = "".join(character for character in name[:100].lower() if character.isalnum())
    if near := get_close_matches(written, plain, _MOST_SUGGESTED):
        return f"did you mean {' or '.join(plain[one] for one in near)}?"
    return f"choose one of {', '.join(BENCHMARKS)}"
