"""Files of every format come back in that format, row by row, with their keys and predictions."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ratchet.adapters.duckdb_scoring import DuckDbScorer
from ratchet.domain.data_contract import DataSection
from ratchet.domain.errors import FileUnscorableError

CONTRACT: dict[str, Any] = {
    "target": "y",
    "task": "regression",
    "timestamp": "at",
    "key": ["at", "place"],
    "columns": {
        "at": {"type": "timestamp", "required": True},
        "place": {"type": "string"},
        "x": {"type": "number", "min": 0},
        "y": {"type": "number", "required": True},
    },
}
ROWS = [("2017-03-31T08:00:00", "Main St, 1", 1.5), ("2017-03-31T09:00:00", 'the "old" one', None)]
CSV = 'at,x,place\n2017-03-31 08:00,1.5,"Main St, 1"\n2017-03-31T09:00Z,,"the ""old"" one"\n'


def contract(**changes: Any) -> DataSection:
    return DataSection.model_validate({**CONTRACT, **changes})


def scored(folder: Path, content: bytes, data: DataSection, asked: list[Any] | None = None) -> bytes:
    """The file of predictions: ten times x."""

    def answers(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        (asked if asked is not None else []).extend(records)
        return [{"prediction": (record["x"] or 0) * 10} for record in records]

    file, into = folder / "file", folder / "scored"
    file.write_bytes(content)
    DuckDbScorer(threads=1)(file, data, answers, into)
    return into.read_bytes()


def test_csv(tmp_path: Path) -> None:
    asked: list[Any] = []
    made = scored(tmp_path, CSV.encode(), contract(), asked)
    assert made.decode() == (
        'at,place,prediction\n2017-03-31 08:00:00,"Main St, 1",15.0\n2017-03-31 09:00:00,"the ""old"" one",0.0\n'
    )
    assert [(record["at"], record["place"], record["x"]) for record in asked] == ROWS


def test_another_delimiter_and_gzip_are_kept(tmp_path: Path) -> None:
    content = gzip.compress(b"at;place;x\n2017-03-31;A;2\n")
    made = gzip.decompress(scored(tmp_path, content, contract(delimiter=";")))
    assert made == b"at;place;prediction\n2017-03-31 00:00:00;A;20.0\n"


def test_json_lines(tmp_path: Path) -> None:
    lines = [json.dumps(dict(zip(("at", "place", "x"), row, strict=True))) for row in ROWS]
    made = scored(tmp_path, "\n".join(lines).encode(), contract(format="jsonl"))
    assert [json.loads(line) for line in made.splitlines()] == [
        {"at": "2017-03-31 08:00:00", "place": "Main St, 1", "prediction": 15.0},
        {"at": "2017-03-31 09:00:00", "place": 'the "old" one', "prediction": 0.0},
    ]


def test_parquet(tmp_path: Path) -> None:
    row = "SELECT TIMESTAMP '2017-03-31 08:00' AS \"at\", 'A' AS place, 1.5 AS x"
    with duckdb.connect() as connection:
        connection.sql(row).write_parquet(str(tmp_path / "in"))
    made = scored(tmp_path, (tmp_path / "in").read_bytes(), contract(format="parquet"))
    (tmp_path / "out.parquet").write_bytes(made)
    rows = (
        duckdb.read_parquet(str(tmp_path / "out.parquet"))
        .project('CAST("at" AS VARCHAR), place, prediction')
        .fetchall()
    )
    assert rows == [("2017-03-31 08:00:00", "A", 15.0)]


def test_the_target_may_be_there_and_is_not_asked_with(tmp_path: Path) -> None:
    asked: list[Any] = []
    scored(tmp_path, b"at,place,x,y\n2017-03-31,A,1,999\n", contract(), asked)
    assert asked == [{"at": "2017-03-31T00:00:00", "place": "A", "x": 1.0}]


def test_without_a_key_the_time_names_the_row_and_without_that_the_line(tmp_path: Path) -> None:
    assert scored(tmp_path, b"at,x\n2017-03-31,1\n", contract(key=[])) == b"at,prediction\n2017-03-31 00:00:00,10.0\n"
    keyless = {"target": "y", "task": "regression", "columns": {"x": {"type": "number"}, "y": {"type": "number"}}}
    made = scored(tmp_path, b"x,note\n1,a\n2,b\n", DataSection.model_validate(keyless))
    assert made == b"line,prediction\n2,10.0\n3,20.0\n"


def test_classes_come_with_their_probabilities(tmp_path: Path) -> None:
    file, into = tmp_path / "file", tmp_path / "scored"
    file.write_text('{"id": 7}\n')
    data = DataSection.model_validate(
        {
            "format": "jsonl",
            "target": "y",
            "task": "classification",
            "key": ["id"],
            "columns": {"id": {"type": "integer"}, "y": {"type": "string"}},
        }
    )
    answer = {"prediction": "yes", "probabilities": {"no": 0.25, "yes": 0.75}}
    DuckDbScorer(threads=1)(file, data, lambda records: [answer for _ in records], into)
    assert json.loads(into.read_text()) == {"id": 7, **answer}


def test_many_rows_are_asked_in_batches_and_stay_in_order(tmp_path: Path) -> None:
    file, into, batches = tmp_path / "file", tmp_path / "scored", []
    file.write_text("at,place,x\n" + "".join(f"2017-03-31,A,{number}\n" for number in range(5_001)))

    def answers(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        batches.append(len(records))
        return [{"prediction": record["x"]} for record in records]

    assert DuckDbScorer(threads=1)(file, contract(), answers, into) == 5_001
    assert batches == [2_000, 2_000, 1_001]
    assert [float(line.split(",")[2]) for line in into.read_text().splitlines()[1:]] == list(range(5_001))


@pytest.mark.parametrize(
    ("content", "what", "where"),
    [
        (b"at,place,x\n2017-03-31,A,1\n2017-03-31,A,-1\n", "1 of 2 rows break the data contract", "line 3, column x"),
        (b"at,place,x\n2017-03-31,A,cold\n", "1 of 1 row", "line 2, column x"),
        (b"place,x\nA,1\n", "at", ""),
        (b"", "empty", ""),
        (b"PK\x03\x04", "ZIP", ""),
        (b"at,place,x\n", "no ", ""),
    ],
)
def test_a_file_that_breaks_the_contract_is_refused_with_the_place(
    tmp_path: Path, content: bytes, what: str, where: str
) -> None:
    with pytest.raises(FileUnscorableError) as refused:
        scored(tmp_path, content, contract())
    finding = refused.value.finding
    assert what in f"{finding.what} {finding.why}"
    assert where in finding.where
