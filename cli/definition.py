"""Reads `pipeline.yaml`; every error names the field and the fix."""

from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ratchet.domain.definition import Definition
from ratchet.domain.errors import DefinitionInvalidError
from ratchet.domain.identity import canonical

FILENAME = "pipeline.yaml"
_MAX_BYTES = 256 * 1024
_MAX_FAULTS = 20


class _Loader(yaml.SafeLoader):
    """YAML without its traps: an alias can unfold without end, and of two equal keys the first would be lost."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise DefinitionInvalidError(f"line {mark.line + 1}: YAML aliases are not allowed; write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        times = Counter(str(key.value) for key, _ in node.value)
        if doubled := next((key for key, count in times.items() if count > 1), None):
            line = node.start_mark.line + 1
            raise DefinitionInvalidError(f"line {line}: {doubled!r} is stated twice in one mapping; remove one of them")
        return super().construct_mapping(node, deep)


def read_definition(folder: Path, settings: Iterable[str] = ()) -> Definition:
    """The definition in a pipeline's folder, with `a.b=c` settings laid over it.

    DefinitionInvalidError names every fault with its field and its fix.
    """
    path = folder / FILENAME
    if not path.is_file():
        raise DefinitionInvalidError(
            f"There is no {FILENAME} in {folder}. Name the pipeline's folder, such as pipelines/traffic."
        )
    try:
        document = _laid_over(_parse(path), settings)
    except DefinitionInvalidError as error:
        raise DefinitionInvalidError(f"{path}: {error}.") from error
    return _validated(str(path), document)


def derive_definition(definition: Definition, settings: Iterable[str]) -> Definition:
    """The definition with `a.b=c` settings laid over it; DefinitionInvalidError as for a file."""
    return _validated(f"The definition of {definition.name} with --set", _laid_over(canonical(definition), settings))


def _laid_over(document: dict[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    for setting in settings:
        _lay_over(document, setting)
    return document


def _validated(name: str, document: dict[str, Any]) -> Definition:
    try:
        return Definition.model_validate(document)
    except ValidationError as error:
        faults = "".join(f"\n  - {fault}" for fault in _faults(document, error.errors()))
        raise DefinitionInvalidError(f"{name} is not a valid definition. Correct:{faults}") from error


def _parse(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    if len(content) > _MAX_BYTES:
        raise DefinitionInvalidError(f"{len(content):,} bytes is too long; a definition has at most {_MAX_BYTES:,}")
    document = _load(content)
    if not isinstance(document, dict):
        raise DefinitionInvalidError("the file holds no mapping; begin with `name: …`")
    return document


def _load(content: bytes | str) -> Any:
    try:
        return yaml.load(content, Loader=_Loader)  # noqa: S506  a subclass of SafeLoader
    except yaml.YAMLError as error:
        raise DefinitionInvalidError(f"this is not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise DefinitionInvalidError("its values lie inside each other too deep; a definition needs five") from error
    except ValueError as error:  # such as a day that no calendar has
        raise DefinitionInvalidError(f"a value cannot be read: {error}; put it in quotes if it is text") from error


def _lay_over(document: dict[str, Any], setting: str) -> None:
    path, separator, text = setting.partition("=")
    *parents, field = path.split(".")
    if not separator or not all([*parents, field]):
        raise DefinitionInvalidError(f"--set {setting} is not a setting; write it like retrain.settle=10s")
    place: Any = document
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise DefinitionInvalidError(f"--set {setting}: {parent} has no fields to set")
    try:
        place[field] = _load(text)
    except DefinitionInvalidError as error:
        raise DefinitionInvalidError(f"--set {setting}: {error}") from error


def _faults(document: Any, errors: Iterable[ErrorDetails]) -> list[str]:
    """One line per field: a field that may be several things has an error for each of them."""
    said: dict[str, list[str]] = {}
    for error in errors:
        said.setdefault(_field(document, error["loc"]), []).append(_what_to_do(error))
    lines = [f"{field}: {', or: '.join(messages)}" for field, messages in islice(said.items(), _MAX_FAULTS)]
    more = len(said) - len(lines)
    return [*lines, f"and {more} more fields"] if more else lines


def _field(document: Any, location: Iterable[int | str]) -> str:
    """`data.columns.x.type`; what pydantic adds after the last field, the kind it tried, is left out."""
    parts: list[str] = []
    place = document
    for part in location:
        if isinstance(place, dict):
            place = place.get(part)
        elif isinstance(place, list) and isinstance(part, int):
            place = place[part]
        else:
            break
        parts.append(str(part))
    return ".".join(parts) or "the definition"


def _what_to_do(error: ErrorDetails) -> str:
    if error["type"] == "missing":
        return "this field is required; add it"
    if error["type"] == "extra_forbidden":
        return f"there is no such field{_suggestion(error['loc'])}"
    if error["type"] == "value_error":  # written by us: it names the value
        return error["msg"].removeprefix("Value error, ")
    return f"{error['msg']} (it is {error['input']!r})"


def _suggestion(location: tuple[int | str, ...]) -> str:
    known = _fields_at(Definition, location[:-1])
    close = get_close_matches(str(location[-1]), known, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; remove it (known here: {', '.join(known)})" if known else "; remove it"


def _fields_at(model: type[BaseModel], location: Iterable[int | str]) -> list[str]:
    """The field names of the section a location leads to."""
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None:
            continue  # a key of a mapping, such as a column's name
        sections = [kind for kind in (field.annotation, *get_args(field.annotation)) if _is_section(kind)]
        if not sections:
            return []
        model = sections[0]
    return list(model.model_fields)


def _is_section(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
