"""Checks requests against botocore's service models, patterns and enums included, in AWS's words."""

import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache, cached_property
from typing import Any

import botocore.session
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StringShape, StructureShape

from local.errors import ServiceError

# Java spells "any character outside the basic plane" as surrogates.
_JAVA_SURROGATES = r"\uD800\uDC00-\uDBFF\uDFFF"
_ASTRAL = r"\U00010000-\U0010FFFF"
_PRINTABLE = r"\p{Print}"
_JAVA_CLASS = re.compile(r"\\p\{(\w+)\}")
_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
}
_ARTICLES = {
    "integer": "an Integer",
    "long": "a Long",
    "float": "a Float",
    "double": "a Double",
    "boolean": "a Boolean",
}


class _RefusedError(Exception):
    """A request that cannot be read any further."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Api:
    """One service's public definition; its refusals are errors of the service's own class."""

    def __init__(self, service: str, error: type[ServiceError]) -> None:
        self._service = service
        self._error = error

    @cached_property
    def model(self) -> ServiceModel:
        """Botocore's model of the service."""
        return botocore.session.get_session().get_service_model(self._service)

    def validate(self, action: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """The request with its absent values dropped and times as epoch seconds; raises what AWS would answer."""
        shape = self.model.operation_model(action).input_shape
        if shape is None:
            return {}
        problems: list[str] = []
        try:
            clean: dict[str, Any] = _checked(shape, dict(request), "", problems)
        except _RefusedError as refusal:
            raise self._error(refusal.code, str(refusal)) from None
        if problems:
            plural = "s" if len(problems) > 1 else ""
            message = f"{len(problems)} validation error{plural} detected: {'; '.join(problems)}"
            raise self._error("ValidationException", message)
        return clean


def _checked(shape: Shape, value: Any, path: str, problems: list[str]) -> Any:
    if isinstance(shape, StructureShape):
        return _structure(shape, value, path, problems)
    if isinstance(shape, ListShape):
        return _list(shape, value, path, problems)
    if isinstance(shape, MapShape):
        return _map(shape, value, path, problems)
    if shape.type_name == "timestamp":
        return _timestamp(value)
    checked = _scalar(shape, value)
    problems.extend(_failed(value, path, constraint) for constraint in _constraints(shape, checked))
    return checked


def _structure(shape: StructureShape, value: Any, path: str, problems: list[str]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _unreadable(value, "structure or map")
    if unknown := [name for name in value if name not in shape.members]:
        known = ", ".join(shape.members)
        message = f'Unknown parameter in {path or "input"}: "{unknown[0]}", must be one of: {known}'
        raise _RefusedError("ValidationException", message)
    present = {name: item for name, item in value.items() if item is not None}
    problems.extend(
        f"Value null at '{_child(path, name)}' failed to satisfy constraint: Member must not be null"
        for name in shape.required_members
        if name not in present
    )
    return {name: _checked(shape.members[name], item, _child(path, name), problems) for name, item in present.items()}


def _list(shape: ListShape, value: Any, path: str, problems: list[str]) -> list[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise _unreadable(value, "list")
    problems.extend(_failed(value, path, constraint) for constraint in _length(shape, value))
    return [_checked(shape.member, item, f"{path}.{n}.member", problems) for n, item in enumerate(value, 1)]


def _map(shape: MapShape, value: Any, path: str, problems: list[str]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _unreadable(value, "structure or map")
    problems.extend(_failed(dict(value), path, constraint) for constraint in _length(shape, value))
    result: dict[str, Any] = {}
    for key, item in value.items():
        for word, part, part_shape in (("keys", key, shape.key), ("value", item, shape.value)):
            broken = list(_constraints(part_shape, _scalar(part_shape, part)))
            if broken:
                problems.append(
                    _failed(dict(value), path, f"Map {word} must satisfy constraint: [{', '.join(broken)}]")
                )
        result[key] = item
    return result


def _scalar(shape: Shape, value: Any) -> Any:
    if shape.type_name == "string":
        if isinstance(value, str):
            return value
        raise _RefusedError("SerializationException", f"{_json_kind(value)} can not be converted to a String")
    wanted = _TYPES.get(shape.type_name)
    if wanted is None:
        return value
    whole = int(value) if shape.type_name in ("integer", "long") and _is_whole_float(value) else value
    if isinstance(whole, wanted) and (bool in wanted or not isinstance(whole, bool)):
        return whole
    raise _RefusedError(
        "SerializationException", f"{_json_kind(value)} can not be converted to {_ARTICLES[shape.type_name]}"
    )


def _is_whole_float(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


def _constraints(shape: Shape, value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from _length(shape, value)
        if isinstance(shape, StringShape) and shape.enum and value not in shape.enum:
            yield f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
        pattern = shape.metadata.get("pattern")
        if pattern and not compiled(pattern).fullmatch(value):
            yield f"Member must satisfy regular expression pattern: {pattern}"
    elif not isinstance(value, bool):
        yield from _range(shape, value)


def _length(shape: Shape, value: Any) -> Iterator[str]:
    if (least := shape.metadata.get("min")) is not None and len(value) < least:
        yield f"Member must have length greater than or equal to {least}"
    if (most := shape.metadata.get("max")) is not None and len(value) > most:
        yield f"Member must have length less than or equal to {most}"


def _range(shape: Shape, value: Any) -> Iterator[str]:
    if (least := shape.metadata.get("min")) is not None and value < least:
        yield f"Member must have value greater than or equal to {least}"
    if (most := shape.metadata.get("max")) is not None and value > most:
        yield f"Member must have value less than or equal to {most}"


def _timestamp(value: Any) -> float:
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError:
        raise _RefusedError(
            "SerializationException", f"{_json_kind(value)} can not be converted to a Timestamp"
        ) from None


def _child(path: str, name: str) -> str:
    lowered = name[0].lower() + name[1:]
    return f"{path}.{lowered}" if path else lowered


def _failed(value: Any, path: str, constraint: str) -> str:
    return f"Value '{value}' at '{path}' failed to satisfy constraint: {constraint}"


def _unreadable(value: Any, wanted: str) -> _RefusedError:
    found = "structure or map" if isinstance(value, Mapping) else "list" if isinstance(value, list) else None
    message = f"Start of {found} found where not expected" if found else f"Expected {wanted} or null"
    return _RefusedError("SerializationException", message)


def _json_kind(value: Any) -> str:
    if isinstance(value, bool):
        return f"{str(value).upper()}_VALUE"
    if isinstance(value, (int, float)):
        return "NUMBER_VALUE"
    return "STRING_VALUE" if isinstance(value, str) else "START_OBJECT_VALUE"


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """The model's Java pattern as a Python one."""
    pattern = pattern.replace(_PRINTABLE, "[ -~]")
    # Java lets `$` repeat, which changes nothing; Python refuses it.
    python = re.sub(r"\$\{[\d,]+\}", "$", pattern.replace(_JAVA_SURROGATES, _ASTRAL))
    return re.compile(_JAVA_CLASS.sub(lambda match: _character_class(match[1]), python))


def _character_class(name: str) -> str:
    return "a-zA-Z0-9" if name == "Alnum" else _categories()[name]


@cache
def _categories() -> dict[str, str]:
    """Character ranges of each Unicode category letter, as the inside of a regex class."""
    spans: dict[str, list[list[int]]] = {}
    for point in range(sys.maxunicode + 1):
        ranges = spans.setdefault(unicodedata.category(chr(point))[0], [])
        if ranges and ranges[-1][1] == point - 1:
            ranges[-1][1] = point
        else:
            ranges.append([point, point])
    return {
        letter: "".join(rf"\U{first:08x}-\U{last:08x}" for first, last in ranges) for letter, ranges in spans.items()
    }
