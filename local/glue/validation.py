"""Checks requests against botocore's model of Glue: what it would refuse on AWS is refused here."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import botocore.session
from botocore.model import ServiceModel, Shape
from botocore.validate import ParamValidator

from local.glue.errors import GlueError

# The models spell "any character outside the basic plane" as surrogates, in Java's way.
_JAVA_SURROGATES = r"\uD800\uDC00-\uDBFF\uDFFF"
_ASTRAL = r"\U00010000-\U0010FFFF"


@cache
def service_model() -> ServiceModel:
    """Botocore's model of the service."""
    return botocore.session.get_session().get_service_model("glue")


def validate(action: str, request: Mapping[str, Any]) -> None:
    """Raises GlueError when the request breaks the operation's model, patterns and enums included."""
    shape = service_model().operation_model(action).input_shape
    if shape is None:
        return
    report = ParamValidator().validate(request, shape)
    if report.has_errors():
        raise GlueError("ValidationException", report.generate_report())
    errors = list(_violations(request, shape, ""))
    if errors:
        plural = "s" if len(errors) > 1 else ""
        raise GlueError("ValidationException", f"{len(errors)} validation error{plural} detected: {'; '.join(errors)}")


def _violations(value: Any, shape: Shape, path: str) -> Iterator[str]:
    if value is None:
        return
    if shape.type_name == "structure":
        for name, member in shape.members.items():  # type: ignore[attr-defined]
            yield from _violations(value.get(name), member, f"{path}.{name}".lstrip("."))
    elif shape.type_name == "list":
        for index, item in enumerate(value):
            yield from _violations(item, shape.member, f"{path}.{index + 1}.member")  # type: ignore[attr-defined]
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from _violations(key, shape.key, f"{path}.key")  # type: ignore[attr-defined]
            yield from _violations(item, shape.value, f"{path}.{key}")  # type: ignore[attr-defined]
    for reason in _broken_constraints(value, shape):
        yield f"Value '{value}' at '{path}' failed to satisfy constraint: Member must {reason}"


def _broken_constraints(value: Any, shape: Shape) -> Iterator[str]:
    constraints = shape.metadata
    size = value if isinstance(value, int | float) else len(value)
    noun = "have value" if isinstance(value, int | float) else "have length"
    if (maximum := constraints.get("max")) is not None and size > maximum:
        yield f"{noun} less than or equal to {maximum}"
    if (choices := constraints.get("enum")) and value not in choices:
        yield f"satisfy enum value set: [{', '.join(choices)}]"
    if (pattern := constraints.get("pattern")) and not _compiled(pattern).fullmatch(value):
        yield f"satisfy regular expression pattern: {pattern}"


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace(_JAVA_SURROGATES, _ASTRAL))
