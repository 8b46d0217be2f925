"""Grading: answer extraction, normalization, comparison and voting."""
