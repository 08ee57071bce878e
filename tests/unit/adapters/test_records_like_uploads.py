"""A request is held to what an upload is held to: the same rows, judged by DuckDB and by the API."""

import json
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ratchet.adapters.duckdb_connection import connection_in
from ratchet.adapters.duckdb_validation import DuckDbValidator
from ratchet.adapters.patterns import full_match
from ratchet.domain.contract_sql import identifier
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


WRITTEN_OTHERWISE = DataSection.model_validate(
    {
        "format": "jsonl",
        "target": "y",
        "task": "regression",
        "max_bad_rows": 1,
        "nulls": ["NA", "-", "-999"],
        "compare": ["low <= high", "since < till", "word != other"],
        "columns": {
            "since": {"type": "timestamp", "required": True, "zone": "Europe/Berlin"},
            "till": {"type": "timestamp", "format": "%d.%m.%Y %H:%M", "zone": "America/New_York"},
            "day": {"type": "timestamp", "format": "%Y/%m/%d"},
            "low": {"type": "number"},
            "high": {"type": "number", "max": 10},
            "n": {"type": "integer", "required": True},
            "word": {"type": "string", "min_length": 1, "max_length": 2},
            "other": {"type": "string"},
            "y": {"type": "number"},
        },
    }
)
nothing = st.sampled_from([None, "", "NA", "-", " NA", "na"])  # the last two are something
small = st.one_of(st.integers(-12, 12), st.just(-999), st.just(-999.0), st.floats(-12, 12).map(lambda x: round(x, 2)))
near = st.datetimes(datetime(2017, 3, 25), datetime(2017, 11, 6))  # noqa: DTZ001 - clocks change in both zones
zoned = st.fixed_dictionaries(
    {
        "since": st.sampled_from(["2017-10-29 02:30", "2017-03-26 02:30", "2017-10-29T02:59:59.5"])
        | near.map(str)
        | days.map(str)
        | near.map(lambda at: f"{at:%Y-%m-%dT%H:%M}+02:00")
        | nothing,
        "till": near.map(lambda at: f"{at:%d.%m.%Y %H:%M}")
        | st.sampled_from(
            [
                "1.4.2017 8:05",
                "01.04.0999 08:00",
                "01.04.3000 08:00",
                "31.02.2017 08:00",
                "2017-04-01 08:00",
                "01.04.17 08:00",
                "05.11.2017 01:30",
                "12.03.2017 02:30",
            ]
        )
        | nothing,
        "day": near.map(lambda at: f"{at:%Y/%m/%d}")
        | st.sampled_from([" 2017/04/01", "2017/04/01 ", "2017/4/1", "\N{ARABIC-INDIC DIGIT TWO}017/04/01"])
        | nothing,
        "low": small | nothing,
        "high": small | nothing,
        "n": st.integers(-9, 9) | st.just(-999) | nothing,
        "word": st.sampled_from(["a", "ab", "abc", "ü", "-"]) | nothing,
        "other": st.sampled_from(["a", "ab", "B"]) | nothing,
        "y": st.just(1.5),
    }
)
Rows = list[dict[str, Any]]


@settings(max_examples=15, deadline=None, phases=[Phase.generate])  # each example is a file: too slow to shrink
@given(
    st.one_of(
        st.tuples(st.just(DATA), st.lists(records, min_size=20, max_size=60)),
        st.tuples(st.just(WRITTEN_OTHERWISE), st.lists(zoned, min_size=20, max_size=60)),
    )
)
def test_a_request_and_an_upload_are_judged_alike(given_rows: tuple[DataSection, Rows]) -> None:
    data, rows = given_rows
    good = {"at": "2017-03-31", "y": 1} if data is DATA else {"since": "2017-03-31", "n": 1, "y": 1}
    with TemporaryDirectory() as folder:
        file = Path(folder) / "upload"
        file.write_text("".join(f"{json.dumps(row)}\n" for row in [*rows, good]))
        judgement = DuckDbValidator(threads=1)(file, data, "0" * 64, datetime(2020, 1, 1, tzinfo=UTC))
        accepted = _accepted(Path(folder) / "accepted.parquet", data)
    taken = [_taken(row, data) for row in rows]
    refused = [place for place, values in enumerate(taken) if values is None]
    assert [bad.line - 1 for bad in judgement.examples] == refused[:20]
    assert len(refused) == judgement.bad_rows
    assert [values for values in taken if values is not None] == accepted[:-1]


def _accepted(file: Path, data: DataSection) -> Rows:
    """The accepted rows of an upload, as requests spell their values."""
    names = [name for name in data.columns if name != data.target]
    with connection_in(file.parent, 512, 1) as connection:
        found = connection.execute(
            f"SELECT {', '.join(map(identifier, names))} FROM read_parquet('{file}') ORDER BY ratchet_line"  # noqa: S608
        ).fetchall()
    spelt = ((value.isoformat() if isinstance(value, datetime) else value for value in row) for row in found)
    return [dict(zip(names, row, strict=True)) for row in spelt]


def _taken(row: dict[str, Any], data: DataSection) -> dict[str, Any] | None:
    """The record as the model takes it; None when it breaks the contract."""
    try:
        return check([row], data, full_match)[0]
    except RecordsInvalidError:
        return None
