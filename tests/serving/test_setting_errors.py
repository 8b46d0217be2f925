"""One line for each invalid setting."""

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from deepmath.serving.setting_errors import did_you_mean, explain_settings


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")

    steps: int = Field(1, gt=0)


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    optimizer: _Section | None = None
    address: str = ""

    @field_validator("address")
    @classmethod
    def _is_short(cls, address: str) -> str:
        if len(address) > 3:
            raise ValueError("give at most 3 characters")
        return address


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"name": "x", "adress": "y"}, "unknown setting `adress`; did you mean `address`?"),
        ({"name": "x", "optimizer": {"stps": 1}}, "unknown setting `optimizer.stps`; did you mean `optimizer.steps`?"),
        ({"name": "x", "zzz": 1}, "unknown setting `zzz`"),
        ({}, "missing setting `name`"),
        ({"name": "x", "optimizer": {"steps": 0}}, "optimizer.steps is 0: input should be greater than 0"),
        ({"name": "x", "address": "four"}, "address: give at most 3 characters"),
    ],
)
def test_mistake_is_explained_in_one_line(values, line) -> None:
    with pytest.raises(ValidationError) as invalid:
        _Settings.model_validate(values)
    assert list(explain_settings(invalid.value, _Settings)) == [line]


def test_nearest_name_is_written_with_its_prefix() -> None:
    assert did_you_mean("eagr", ["eager", "listen"], prefix="--") == "; did you mean `--eager`?"
    assert did_you_mean("zzz", ["eager"]) == ""
