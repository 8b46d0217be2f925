"""Dialects: how the models of a family write a call of Python and read its output."""

from deepmath.dialects.dialect import Dialect, MalformedCall, OutputPiece
from deepmath.dialects.dialect_choice import DialectChoice, choose_dialect
from deepmath.dialects.dialect_registry import DIALECTS, find_dialect, known_dialect

__all__ = [
    "DIALECTS",
    "Dialect",
    "DialectChoice",
    "MalformedCall",
    "OutputPiece",
    "choose_dialect",
    "find_dialect",
    "known_dialect",
]
