"""Filter patterns of CloudWatch Logs: terms, and conditions on fields of JSON lines."""

import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

Matcher = Callable[[str], bool]
Condition = Callable[[Any], bool]
_TERM = re.compile(r'([?-]?)(?:"([^"]*)"|(\S+))')
_TOKEN = re.compile(r'\s*(\(|\)|&&|\|\||"(?:[^"\\]|\\.)*"|!=|<=|>=|=|<|>|[^\s()=<>!&|"]+)')
_ORDERS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ABSENT = object()


class PatternError(ValueError):
    """A pattern that is not understood here."""


def matcher(pattern: str) -> Matcher:
    """Whether a line matches; raises PatternError. `[…]` and `%…%` patterns are not understood."""
    text = pattern.strip()
    if text.startswith("{") and text.endswith("}"):
        condition = _Conditions(text[1:-1]).parsed()
        return lambda line: _holds(condition, line)
    if text.startswith(("[", "%", "{")):
        raise PatternError(f"The filter pattern {pattern!r} is of a kind that is not supported here.")
    return _terms(text)


def selected(line: str, selector: str) -> Any:
    """The field of a JSON line that `$.a.b` names; None when there is none."""
    value = _field(_parsed(line), selector)
    return None if value is _ABSENT else value


def _terms(text: str) -> Matcher:
    terms = [(sign, quoted or bare) for sign, quoted, bare in _TERM.findall(text)]
    required, excluded, optional = ([term for sign, term in terms if sign == kind] for kind in ("", "-", "?"))

    def match(line: str) -> bool:
        if any(term in line for term in excluded) or not all(term in line for term in required):
            return False
        return not optional or bool(required) or any(term in line for term in optional)

    return match


def _holds(condition: Condition, line: str) -> bool:
    document = _parsed(line)
    return isinstance(document, dict) and condition(document)


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _field(document: Any, selector: str) -> Any:
    value = document
    for name in selector.removeprefix("$").lstrip(".").split("."):
        if not isinstance(value, dict) or name not in value:
            return _ABSENT
        value = value[name]
    return value


class _Conditions:
    """A recursive-descent reader of `$.a = "x" && ($.b > 1 || $.c EXISTS)`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))

    def parsed(self) -> Condition:
        condition = self._any()
        if self._tokens:
            raise self._error()
        return condition

    def _any(self) -> Condition:
        parts = [self._all()]
        while self._next("||"):
            parts.append(self._all())
        return lambda document: any(part(document) for part in parts)

    def _all(self) -> Condition:
        parts = [self._one()]
        while self._next("&&"):
            parts.append(self._one())
        return lambda document: all(part(document) for part in parts)

    def _one(self) -> Condition:
        if self._next("("):
            condition = self._any()
            if not self._next(")"):
                raise self._error()
            return condition
        selector = self._take()
        if not selector.startswith("$."):
            raise self._error()
        return self._test(selector, self._take())

    def _test(self, selector: str, word: str) -> Condition:
        if word == "EXISTS":
            return lambda document: _field(document, selector) is not _ABSENT
        if word == "NOT":
            self._expect("EXISTS")
            return lambda document: _field(document, selector) is _ABSENT
        if word == "IS":
            wanted = {"NULL": None, "TRUE": True, "FALSE": False}.get(self._take(), _ABSENT)
            if wanted is _ABSENT:
                raise self._error()
            return lambda document: _field(document, selector) is wanted
        given = self._take()
        if word in ("=", "!="):
            return lambda document: _equals(_field(document, selector), given) == (word == "=")
        if word not in _ORDERS:
            raise self._error()
        return lambda document: _ordered(_field(document, selector), _ORDERS[word], given)

    def _next(self, token: str) -> bool:
        if self._tokens[:1] == [token]:
            del self._tokens[0]
            return True
        return False

    def _take(self) -> str:
        if not self._tokens:
            raise self._error()
        return self._tokens.pop(0)

    def _expect(self, token: str) -> None:
        if not self._next(token):
            raise self._error()

    def _error(self) -> PatternError:
        return PatternError(f"The filter pattern {{{self._text}}} is not understood.")


def _tokens(text: str) -> Iterator[str]:
    position = 0
    while text[position:].strip():
        found = _TOKEN.match(text, position)
        if not found:
            raise PatternError(f"The filter pattern {{{text}}} is not understood.")
        yield found[1]
        position = found.end()


def _equals(value: Any, given: str) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = _number(given)
        return number is not None and value == number
    return isinstance(value, str) and fnmatchcase(value, given.strip('"'))


def _ordered(value: Any, compare: Callable[[float, float], bool], given: str) -> bool:
    number = _number(given)
    return isinstance(value, int | float) and number is not None and compare(value, number)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
