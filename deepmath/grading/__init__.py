"""Answers: extraction, normalization, comparison and majority."""
