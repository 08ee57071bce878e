"""What is known of a JSON value before the workflow runs: enough to say that a path cannot be there."""

import re
from collections.abc import Iterator
from types import UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin

import botocore.loaders
import botocore.model
from pydantic import BaseModel

Shape = dict[str, Any]  # field -> shape; ANY when nothing is known of the inside; [shape] for a list of it

ANY: Shape = {"*": {}}
_LOADER = botocore.loaders.Loader()
_REFERENCE = re.compile(r"(\$\$?)((?:\.\w+)*)")
_CALLS = re.compile(r"^States\.\w+\((.*)\)$")


class Reference(NamedTuple):
    """`$.run.pipeline` -> ("$", ("run", "pipeline")); root `$$` is the context object."""

    root: str
    fields: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join((self.root, *self.fields))


def of_model(model: type[BaseModel]) -> Shape:
    """The shape of a contract's JSON."""
    return {name: of_annotation(field.annotation) for name, field in model.model_fields.items()}


def of_annotation(annotation: Any) -> Any:
    """The shape of a field; None in a union is ignored, since a Choice guards such reads."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return of_model(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return next((of_annotation(part) for part in arguments if part is not type(None)), {})
    if origin is tuple:
        return [of_annotation(arguments[0])]
    if origin is dict:
        return ANY
    return {}


def of_output(service: str, operation: str) -> Shape:
    """The shape of an AWS operation's answer, as botocore's model states it."""
    shape: Shape = _of_botocore(_model(service).operation_model(operation).output_shape)
    return shape


def is_certain(service: str, operation: str, fields: tuple[str, ...]) -> bool:
    """Whether an AWS operation's answer always has the field at a path."""
    shape: Any = _model(service).operation_model(operation).output_shape
    for field in fields:
        if field not in shape.required_members:
            return False
        shape = shape.members[field]
    return True


def input_fields(service: str, operation: str) -> tuple[set[str], set[str]]:
    """The fields an AWS operation takes, and those it requires; Step Functions writes them with a capital letter."""
    shape: Any = _model(service).operation_model(operation).input_shape
    return {_capital(name) for name in shape.members}, {_capital(name) for name in shape.required_members}


def _capital(name: str) -> str:
    return name[0].upper() + name[1:]


def _model(service: str) -> botocore.model.ServiceModel:
    return botocore.model.ServiceModel(_LOADER.load_service_model(service, "service-2"))


def _of_botocore(shape: Any, depth: int = 0) -> Any:
    if shape is None or depth > 4:
        return ANY
    if shape.type_name == "structure":
        return {name: _of_botocore(member, depth + 1) for name, member in shape.members.items()}
    if shape.type_name == "list":
        return [_of_botocore(shape.member, depth + 1)]
    return ANY if shape.type_name == "map" else {}


def references(expression: str) -> Iterator[Reference]:
    """The paths an expression reads: itself, or the arguments of an intrinsic function, however nested."""
    call = _CALLS.match(expression)
    text = re.sub(r"'(?:[^'\\]|\\.)*'", "", call[1]) if call else expression
    for root, fields in _REFERENCE.findall(text):
        yield Reference(root, tuple(fields.split(".")[1:]))


def resolve(shape: Any, fields: tuple[str, ...]) -> Any:
    """The shape at a path, or None when nothing can be there."""
    for field in fields:
        if shape is ANY or shape == ANY:
            return ANY
        if not isinstance(shape, dict) or field not in shape:
            return None
        shape = shape[field]
    return shape


def common(one: Shape, other: Shape) -> Shape:
    """What is there whichever way a state was reached."""
    if ANY in (one, other):
        return other if one == ANY else one
    return {
        name: common(one[name], other[name])
        if isinstance(one[name], dict) and isinstance(other[name], dict)
        else one[name]
        for name in one.keys() & other.keys()
    }
