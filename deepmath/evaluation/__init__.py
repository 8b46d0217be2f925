"""Evaluation as the seeds report it: samples of benchmarks, their scores, and what two runs differ in."""
