"""The judgement: one pass writes the good rows; only the others are looked at for their reasons."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet.adapters.duckdb_profile import profile
from ratchet.adapters.duckdb_sources import Lines, Relation, Scans, Source, first_line
from ratchet.adapters.upload_file import FileRejected
from ratchet.domain import file_findings
from ratchet.domain.contract_sql import BEYOND_DOUBLES, Plan, literal
from ratchet.domain.errors import ValidationBrokenError
from ratchet.domain.validation import (
    MAX_EXAMPLES,
    BadRow,
    BrokenRule,
    Judgement,
    Profile,
    bad_row,
    broken_rules,
    judge,
    judge_columns,
    judge_profile,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_FETCHED = 10_000
_DICTIONARY = 16_000  # values of a row group; looking for more in columns that repeat little costs a fifth of writing
_BAD = "bad_rows"
_VIOLATIONS = "violations"


class _NotByLines(Exception):  # noqa: N818  (some line is no row, or a row more than a line)
    """The file has to be read by the exact reader."""


def judge_rows(rows: "Rows", source: Source, received: datetime) -> Judgement:
    """Judges a file; unless rejected, writes `accepted.parquet` and `quarantine.parquet` into the rows' folder."""
    plan = rows.plan
    finding, warnings = judge_columns(plan)
    judgement = Judgement(
        unit=source.unit,
        unexpected=plan.unexpected,
        absent=plan.absent,
        reading=source.reading,
        warnings=warnings,
        finding=finding,
    )
    if finding is not None:
        return judgement
    accepted, total = rows.split(source.rows)
    broken, examples = rows.reasons(total - accepted)
    counts = {"rows": total, "bad_rows": total - accepted, "broken": broken, "examples": tuple(examples)}
    judgement = judgement.model_copy(update=counts)
    finding = judge(plan.data, judgement)
    if finding is None:
        figures = rows.profile(accepted)
        judgement = judgement.model_copy(update={"profile": figures})
        finding = judge_profile(plan.data, figures, rows.newest(), received.astimezone(UTC).replace(tzinfo=None))
    if finding is not None:
        rows.accepted.unlink()
    elif judgement.bad_rows:
        rows.write_quarantine()
    return judgement.model_copy(update={"finding": finding})


class _NotTyped(Exception):  # noqa: N818
    """Some value is not what the CSV reader takes it for: the lines are to be read as text."""


class Rows:
    """The rows of one file on their way into two Parquet files."""

    def __init__(self, connection: "DuckDBPyConnection", plan: Plan, folder: Path, upload_id: str) -> None:
        self.connection, self.plan, self._upload_id = connection, plan, upload_id
        self._folder = folder
        self.accepted = folder / "accepted.parquet"
        self._profile: Future[Profile] | None = None
        self._sample: str | None = None  # SELECT of some accepted rows

    @property
    def _table(self) -> str:
        return f"read_parquet({literal(str(self.accepted))})"

    def split(self, rows: Lines | Relation) -> tuple[int, int]:
        """Writes the good rows, sets the others aside; how many are good, and how many there are."""
        if isinstance(rows, Lines):
            try:
                return self._split_lines(rows), rows.rows
            except _NotByLines:
                rows = rows.exact()
        self._profile = self._sample = None  # of the lines that turned out to be no rows
        return self._split_relation(rows), rows.rows

    def _split_lines(self, lines: Lines) -> int:
        if lines.counted and self._count(lines) != lines.rows:
            raise _NotByLines
        if lines.typed:
            with suppress(_NotTyped):
                return self._split_scans(lines, lines.typed, typed=True)
        return self._split_scans(lines, lines.text, typed=False)

    def _split_scans(self, lines: Lines, scans: Scans, *, typed: bool) -> int:
        plan = replace(self.plan, underscores=lines.underscores, typed=typed)
        with _irregular_lines():
            accepted = self._copy(plan.accepted_of_lines(scans.parts, self._upload_id), self.accepted)
        removed = self._remove_violations()
        if scans.sample and not removed:  # to read the sample's lines again is cheaper than to find rows in the file
            self._sample = plan.accepted_of_lines(scans.sample, self._upload_id)
        accepted -= removed
        if accepted == lines.rows:
            return accepted
        with ThreadPoolExecutor(max_workers=1) as beside:  # the profile is DuckDB's work, the bad lines are Python's
            self._profile = beside.submit(self._profiled, self.connection.cursor(), accepted)
            picked = lines.pick(self._missing(lines))
            good = self._set_aside(picked.sql)
        if good or picked.rows != lines.rows - accepted:  # the numbers are not the lines': a blank one, for instance
            raise _NotByLines
        return accepted

    def _count(self, lines: Lines) -> int:
        scans = " UNION ALL ".join(f"SELECT c0 FROM ({part.scan})" for part in lines.text.parts)  # noqa: S608
        with _irregular_lines():
            return self._number(f"SELECT count(*) FROM ({scans})")  # noqa: S608

    def _missing(self, lines: Lines) -> Iterator[tuple[int, int]]:
        """The ranges of lines that were not accepted. Within a piece the rows were written in order."""
        for piece in lines.pieces:
            first, last = piece.lines_before + 1, piece.lines_before + piece.lines
            own = f"FROM {self._table} WHERE ratchet_line BETWEEN {first} AND {last}"
            before = f"lag(ratchet_line, 1, {first - 1}) OVER ()"
            gaps = self.connection.cursor().execute(
                f"SELECT before + 1, line - 1 FROM (SELECT ratchet_line AS line, {before}::BIGINT AS before {own}) "  # noqa: S608
                "WHERE line <> before + 1"
            )
            while found := gaps.fetchmany(_FETCHED):
                for start, end in found:
                    if start > end:
                        raise ValidationBrokenError(f"DuckDB wrote line {end + 1} after line {start - 1}")
                    yield start, end
            end = self._number(f"SELECT coalesce(max(ratchet_line), {first - 1}) {own}")
            if end < last:
                yield end + 1, last

    def _split_relation(self, relation: Relation) -> int:
        accepted = self._copy_all(relation)
        accepted -= self._remove_violations()
        if accepted < relation.rows:
            bad = self.plan.bad(relation.sql)
            lines = f"SELECT line FROM {_VIOLATIONS}"  # noqa: S608
            self._set_aside(f"{bad} UNION ALL BY NAME FROM ({relation.sql}) WHERE line IN ({lines})")
        return accepted

    def _copy_all(self, relation: Relation) -> int:
        from duckdb import Error, OutOfMemoryException  # noqa: PLC0415

        try:
            return self._copy(self.plan.accepted(relation.sql, self._upload_id), self.accepted)
        except OutOfMemoryException:
            raise
        except Error as error:
            if self.plan.data.format != "parquet":
                raise
            raise FileRejected(file_findings.damaged("Parquet", first_line(error))) from error

    def _remove_violations(self) -> int:
        """Takes rows out of the accepted ones that only others make bad: repeated keys, times out of order."""
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {_VIOLATIONS} (line BIGINT, repeats BIGINT, precedes BIGINT)"
        )
        removed = 0
        for wanted, query, column in (
            (self.plan.data.unique, self.plan.repeated_keys, "repeats"),
            (self.plan.data.order, self.plan.out_of_order, "precedes"),
        ):
            if wanted:
                self.connection.execute(f"INSERT INTO {_VIOLATIONS} (line, {column}) {query(self._table)}")
        removed = self._number(f"SELECT count(DISTINCT line) FROM {_VIOLATIONS}")  # noqa: S608
        if removed:
            kept = self._folder / "kept.parquet"
            lines = f"SELECT line FROM {_VIOLATIONS}"  # noqa: S608
            self._copy(f"SELECT * FROM {self._table} WHERE ratchet_line NOT IN ({lines}) ORDER BY ratchet_line", kept)  # noqa: S608
            kept.replace(self.accepted)
        return removed

    def _set_aside(self, relation: str) -> int:
        """Keeps the bad rows with their reasons; how many of them have none."""
        firsts = f"SELECT line, min(repeats) AS repeats, min(precedes) AS precedes FROM {_VIOLATIONS} GROUP BY line"  # noqa: S608
        joined = f"SELECT * FROM ({relation}) LEFT JOIN ({firsts}) USING (line)"  # noqa: S608
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {_BAD} AS {self.plan.judged(joined)}")
        return self._number(f"SELECT count(*) FROM {_BAD} WHERE len(broken) = 0")  # noqa: S608

    def reasons(self, bad_rows: int) -> tuple[tuple[BrokenRule, ...], list[BadRow]]:
        """The rules that are broken, and the first rows that break one."""
        if not bad_rows:
            return (), []
        rules = self.plan.rules()
        counted = self.connection.execute(
            f"SELECT rule, count(*), min(line) FROM (SELECT unnest(broken) AS rule, line FROM {_BAD}) GROUP BY rule"  # noqa: S608
        ).fetchall()
        examples = self.connection.execute(
            f"SELECT line, broken, reasons FROM {_BAD} ORDER BY line LIMIT {MAX_EXAMPLES}"  # noqa: S608
        ).fetchall()
        counts = {rule: (count, line) for rule, count, line in counted}
        return broken_rules(rules, counts), [bad_row(rules, *example) for example in examples]

    def profile(self, accepted: int) -> Profile:
        """What was accepted, in figures."""
        if self._profile is not None:
            return self._profile.result()
        return self._profiled(self.connection, accepted)

    def _profiled(self, connection: "DuckDBPyConnection", accepted: int) -> Profile:
        return profile(connection, self.accepted, self.plan.data, accepted, self._sample)

    def write_quarantine(self) -> None:
        """Writes the rows that were set aside."""
        self._copy(self.plan.quarantine(_BAD), self._folder / "quarantine.parquet")

    def newest(self) -> datetime | None:
        """The newest accepted timestamp, in UTC."""
        if self.plan.data.timestamp is None:
            return None
        column = '"' + self.plan.data.timestamp.replace('"', '""') + '"'
        row = self.connection.execute(f"SELECT max({column}) FROM {self._table}").fetchone()  # noqa: S608
        return row[0] if row else None

    def _copy(self, query: str, into: Path) -> int:
        return self._number(
            f"COPY ({query}) TO {literal(str(into))} (FORMAT parquet, DICTIONARY_SIZE_LIMIT {_DICTIONARY})"
        )

    def _number(self, query: str) -> int:
        row = self.connection.execute(query).fetchone()
        assert row is not None  # noqa: S101  (an aggregate or a COPY always has one row)
        return int(row[0])


@contextmanager
def _irregular_lines() -> Iterator[None]:
    """What DuckDB refuses in the lines of a CSV file."""
    from duckdb import ConversionException, InvalidInputException  # noqa: PLC0415

    try:
        yield
    except ConversionException as error:
        raise _NotTyped from error
    except InvalidInputException as error:  # a ragged line, a stray quote
        raise (_NotTyped if BEYOND_DOUBLES in str(error) else _NotByLines) from error
