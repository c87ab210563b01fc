"""Constrained types that options are declared with; they read well in `rankcli modules` and are checked before anything
runs.
"""

from __future__ import annotations

import re
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

PositiveInt = Annotated[int, Gt(0)]
NonNegativeInt = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
Probability = Annotated[float, Ge(0), Le(1)]
Rate = Annotated[float, Ge(0), Lt(1)]
Factor = Annotated[float, Gt(0), Le(1)]


def check_regex(name: str, regex: str) -> None:
    """Raise ValueError if `regex`, the value of the option `name`, is not a regular expression."""
    try:
        re.compile(regex)
    except re.error as error:
        raise ValueError(f"{name} {regex!r} is not a regular expression: {error}") from error
