"""Type of settings that name a dialect: an unknown name is an invalid setting."""

from typing import Annotated

from pydantic import AfterValidator

from deepmath.dialects.dialect_registry import find_dialect
from deepmath.errors import InvalidRequest


def _known(name: str) -> str:
    try:
        return find_dialect(name).name
    except InvalidRequest as error:
        raise ValueError(str(error)) from None


DialectName = Annotated[str, AfterValidator(_known)]
"""The name of a dialect of this package, or of one that another package offers."""
