"""Filters, order and pages of the List calls."""

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from local.sagemaker.errors import invalid
from local.sagemaker.store import Record

DEFAULT_PAGE = 10


def page(
    records: Iterable[Record], request: Mapping[str, Any], *, name: str, status: str = "", descending: bool = True
) -> tuple[list[Record], dict[str, str]]:
    """The records of one page and, when more follow, `{"NextToken": …}`; `name` and `status` are their fields."""
    fields = {"Name": name, "Status": status, "CreationTime": "CreationTime"}
    by = fields[request.get("SortBy", "CreationTime")]
    reverse = request.get("SortOrder", "Descending" if descending else "Ascending") == "Descending"

    def position(record: Record) -> list[Any]:
        return [record[by], record[name]]

    found = sorted((r for r in records if _matches(r, request, name, status)), key=position, reverse=reverse)
    if token := request.get("NextToken"):
        last = _decoded(token)
        found = [r for r in found if (position(r) < last if reverse else position(r) > last)]
    size = request.get("MaxResults", DEFAULT_PAGE)
    more = {"NextToken": _encoded(position(found[size - 1]))} if len(found) > size else {}
    return found[:size], more


def summary(record: Record, *fields: str) -> Record:
    """The record's fields that its summary has."""
    return {field: record[field] for field in fields if field in record}


def _matches(record: Record, request: Mapping[str, Any], name: str, status: str) -> bool:
    wanted = request.get("NameContains", "").lower() in record[name].lower()
    if "StatusEquals" in request:
        wanted = wanted and record[status] == request["StatusEquals"]
    for field in ("CreationTime", "LastModifiedTime"):
        wanted = wanted and record.get(field, 0.0) > request.get(f"{field}After", float("-inf"))
        wanted = wanted and record.get(field, 0.0) < request.get(f"{field}Before", float("inf"))
    return wanted


def _encoded(position: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def _decoded(token: str) -> list[Any]:
    try:
        position: list[Any] = json.loads(base64.urlsafe_b64decode(token.encode()))
    except ValueError:
        raise invalid("Invalid pagination token.") from None
    return position
