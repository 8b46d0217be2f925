"""Evaluation on benchmarks: sampling, grading, the statistics of the DeepMath paper, and comparisons of runs."""
