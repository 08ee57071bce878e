"""The JSONPath expressions of batch transform's filters: names, wildcards, indexes and open slices."""

import re
from typing import Any

_STEP = re.compile(
    r"""\.?\[\s*(?P<names>'[^']*'(?:\s*,\s*'[^']*')*)\s*\]   # ['a','b']
      | \[(?P<indexes>-?\d+(?:\s*,\s*-?\d+)*)\]              # [0], [1,-1]
      | \[(?P<start>\d+):\]                                  # [1:]
      | \.(?P<name>[A-Za-z_][\w-]*)                          # .a
      | (?:\.\*|\[\*\])(?P<all>)                             # .* or [*]
    """,
    re.VERBOSE,
)


class PathError(Exception):
    """The expression is not one of these, or what it names is not there."""


class Path:
    """A parsed expression."""

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self._steps: list[re.Match[str]] = []
        if not expression.startswith("$"):
            raise PathError(f"{expression} must begin with $")
        position = 1
        while position < len(expression):
            step = _STEP.match(expression, position)
            if step is None:
                raise PathError(f"{expression} has an operator that is not supported at {expression[position:]}")
            self._steps.append(step)
            position = step.end()

    def select(self, value: Any) -> Any:
        """The part of the value; several names give an object, several indexes or a slice a list."""
        for step in self._steps:
            try:
                value = _taken(step, value)
            except (KeyError, IndexError, TypeError) as error:
                raise PathError(f"{self.expression} selects nothing") from error
        return value


def _taken(step: re.Match[str], value: Any) -> Any:
    if names := step["names"]:
        keys = re.findall(r"'([^']*)'", names)
        # One name must be there; of several, those that are: as JsonPath's default options have it.
        return value[keys[0]] if len(keys) == 1 else {key: value[key] for key in keys if key in value}
    if indexes := step["indexes"]:
        places = [int(index) for index in indexes.split(",")]
        return value[places[0]] if len(places) == 1 else [value[place] for place in places]
    if step["start"]:
        return value[int(step["start"]) :]
    if step["name"]:
        return value[step["name"]]
    return list(value.values()) if isinstance(value, dict) else list(value)
