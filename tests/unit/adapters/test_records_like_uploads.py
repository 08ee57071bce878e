"""A request is held to what an upload is held to: the same rows, judged by DuckDB and by the API."""

import json
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ratchet.adapters.duckdb_validation import DuckDbValidator
from ratchet.adapters.patterns import full_match
from ratchet.domain.data_contract import DataSection
from ratchet.domain.errors import RecordsInvalidError
from ratchet.domain.records import check

DATA = DataSection.model_validate(
    {
        "format": "jsonl",
        "target": "y",
        "task": "regression",
        "max_bad_rows": 1,
        "columns": {
            "at": {"type": "timestamp", "required": True},
            "x": {"type": "number", "min": -10, "max": 1e6},
            "n": {"type": "integer"},
            "word": {"type": "string", "allowed": ["a", "b c", "ü"]},
            "code": {"type": "string", "pattern": "[A-Z]+(-[0-9]{1,3})?"},
            "flag": {"type": "boolean"},
            "y": {"type": "number"},
        },
    }
)
days = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1))  # noqa: DTZ001
times = st.one_of(
    days.map(str),
    days.map(lambda moment: moment.isoformat() + "Z"),
    st.sampled_from(
        [
            "0999-12-31",
            "2017-03-31",
            "2017-03-31 24:00",
            "2017-03-31 24:00:01",
            "2017-02-29",
            "2017-03-31T08:00:00+14:00",
            "2017-03-31 08:00 UTC",
            "epoch",
            "",
        ]
    ),
)
records = st.fixed_dictionaries(
    {
        "at": times,
        "x": st.none() | st.floats(-20, 2e6, allow_nan=False).map(lambda x: round(x, 3)),
        "n": st.none() | st.integers(-(2**64), 2**64),
        "word": st.none() | st.sampled_from(["a", "b c", "ü", "A", " a", ""]),
        "code": st.none() | st.from_regex(r"[A-Za-z]{1,2}(-[0-9]{0,4})?", fullmatch=True),
        "flag": st.none() | st.booleans(),
        "y": st.just(1.5),
    }
)


@settings(max_examples=15, deadline=None, phases=[Phase.generate])  # each example is a file: too slow to shrink
@given(st.lists(records, min_size=20, max_size=60))
def test_a_request_and_an_upload_are_judged_alike(rows: list[dict[str, Any]]) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "upload"
        file.write_text("".join(f"{json.dumps(row)}\n" for row in [*rows, {"at": "2017-03-31", "y": 1}]))
        judgement = DuckDbValidator(threads=1)(file, DATA, "0" * 64, datetime(2020, 1, 1, tzinfo=UTC))
    refused = [place for place, row in enumerate(rows) if not _is_taken(row)]
    assert len(refused) == judgement.bad_rows
    assert [bad.line - 1 for bad in judgement.examples] == refused[:20]


def _is_taken(row: dict[str, Any]) -> bool:
    try:
        check([row], DATA, full_match)
    except RecordsInvalidError:
        return False
    return True
