"""Scoring a file: DuckDB reads it under the contract, the model answers in batches, DuckDB writes it out again."""

import gzip
import json
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ratchet.adapters.duckdb_connection import connection_in
from ratchet.adapters.duckdb_validation import DuckDbValidator
from ratchet.domain.contract_sql import identifier, literal
from ratchet.domain.data_contract import DataSection
from ratchet.domain.errors import FileUnscorableError
from ratchet.domain.scoring import identifying_columns, scoring_contract

_BATCH = 2_000  # records of one request to the model, at most
_GZIP = b"\x1f\x8b"
_NO_UPLOAD = "0" * 64

Answers = Callable[[Sequence[dict[str, Any]]], Sequence[dict[str, Any]]]


class DuckDbScorer:
    """The Scorer port: every row of the file gets a prediction, or the file as a whole is refused."""

    def __init__(self, memory_mb: int = 2048, threads: int | None = None) -> None:
        """`memory_mb` is the whole process's."""
        self._memory_mb, self._threads = memory_mb, threads
        self._validate = DuckDbValidator(memory_mb, threads)

    def __call__(self, file: Path, data: DataSection, answers: Answers, into: Path) -> int:
        """Writes the predictions of `file`, in its format, to `into`; the number of rows.

        FileUnscorableError says what in the file breaks the contract, and where.
        """
        contract = scoring_contract(data)
        with TemporaryDirectory(dir=file.parent) as name:
            folder = Path(name)
            shutil.copyfile(file, folder / "upload")
            judgement = self._validate(folder / "upload", contract, _NO_UPLOAD, datetime.now(UTC))
            if judgement.finding is not None:
                raise FileUnscorableError(judgement.finding)
            delimiter = judgement.reading.delimiter if judgement.reading else None
            return self._score(folder, file, contract.model_copy(update={"delimiter": delimiter}), answers, into)

    def _score(self, folder: Path, file: Path, contract: DataSection, answers: Answers, into: Path) -> int:
        with connection_in(folder, self._memory_mb, self._threads) as connection:
            accepted = f"read_parquet({literal(str(folder / 'accepted.parquet'))})"
            columns = ", ".join(identifier(name) for name in contract.columns)
            # Another connection to read: writing below must not disturb the cursor.
            reader = connection.cursor().execute(f"SELECT {columns} FROM {accepted} ORDER BY ratchet_line")  # noqa: S608
            rows = 0
            with (folder / "answers.jsonl").open("w") as answered:
                while batch := reader.fetchmany(_BATCH):
                    records = [dict(zip(contract.columns, map(_plain, row), strict=True)) for row in batch]
                    for answer in answers(records):
                        rows += 1
                        line = {"ratchet_place": rows, "ratchet_answer": answer}
                        answered.write(f"{json.dumps(line)}\n")
            written = folder / "scored"
            connection.execute(_copy(contract, accepted, folder / "answers.jsonl", written))
        _finish(written, into, packed=_is_packed(file))
        return rows


def _copy(contract: DataSection, accepted: str, answers: Path, into: Path) -> str:
    """SQL: the rows' identifying columns, each with its prediction, in the file's order and format."""
    own = [f"a.{identifier(name)}" for name in identifying_columns(contract)] or ['a.ratchet_line AS "line"']
    read = (
        f"read_json({literal(str(answers))}, format='newline_delimited', "
        "columns={ratchet_place: 'BIGINT', ratchet_answer: 'JSON'})"
    )
    value = _prediction(contract)
    rows = (
        f"SELECT {', '.join(own)}, {value} FROM (SELECT *, row_number() OVER (ORDER BY ratchet_line) AS ratchet_place "  # noqa: S608
        f"FROM {accepted}) a JOIN {read} b USING (ratchet_place) ORDER BY ratchet_place"
    )
    options = {
        "csv": f"FORMAT csv, HEADER, DELIMITER {literal(contract.delimiter or ',')}",
        "jsonl": "FORMAT json",
        "parquet": "FORMAT parquet, COMPRESSION zstd",
    }[contract.format]
    return f"COPY ({rows}) TO {literal(str(into))} ({options})"


def _prediction(contract: DataSection) -> str:
    if contract.task == "regression":
        return "CAST(json_extract(b.ratchet_answer, '$.prediction') AS DOUBLE) AS prediction"
    probabilities = "json_extract(b.ratchet_answer, '$.probabilities')"
    shown = probabilities if contract.format == "jsonl" else f"CAST({probabilities} AS VARCHAR)"
    return f"json_extract_string(b.ratchet_answer, '$.prediction') AS prediction, {shown} AS probabilities"


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value  # a datetime is a date


def _is_packed(file: Path) -> bool:
    with file.open("rb") as content:
        return content.read(2) == _GZIP


def _finish(written: Path, into: Path, *, packed: bool) -> None:
    if not packed:
        shutil.move(written, into)
        return
    with written.open("rb") as plain, gzip.open(into, "wb") as target:
        shutil.copyfileobj(plain, target)
