"""Evaluation on benchmarks: sampling, grading, the statistics of the DeepMath model card, and comparisons of runs."""
