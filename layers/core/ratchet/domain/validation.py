"""What validation found in an upload, and the verdict on it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from ratchet.contracts.base import Contract, Finding
from ratchet.domain.contract_sql import Plan, Rule, Unit
from ratchet.domain.data_contract import DataSection
from ratchet.domain.fields import format_duration
from ratchet.domain.file_findings import counted, header_only, policy_columns

MAX_EXAMPLES = 20
_NAMED = 3  # rows a finding names
_LISTED = 12  # columns a sentence lists


class Reading(Contract):
    """How the file was read; what the contract does not state was detected."""

    format: str
    packed: bool = False  # gzip
    encoding: str | None = None
    delimiter: str | None = None
    header_line: int | None = None  # None: the file has no header
    detected: tuple[str, ...] = ()  # of the fields above


class BrokenRule(Contract):
    """How often a rule was broken."""

    column: str | None
    rule: str
    expects: str
    rows: int
    first_line: int


class BadRow(Contract):
    """A row that breaks the contract: the columns to look at and every reason."""

    line: int
    columns: tuple[str, ...]
    reasons: tuple[str, ...]


class ColumnProfile(Contract):
    """An accepted column in figures. Quantiles, distinct and top are of a sample of the rows, the rest of all."""

    column: str
    type: str
    nulls: int = 0
    min: str | None = None
    max: str | None = None
    mean: float | None = None
    deviation: float | None = None  # standard, of the population
    quantiles: tuple[float, ...] = ()  # at Profile.quantiles
    distinct: int = 0  # in the sample
    top: tuple[tuple[str, float], ...] = ()  # commonest values, each with its share of the sampled values


class Profile(Contract):
    """The accepted rows in figures."""

    rows: int
    sampled: int
    quantiles: tuple[float, ...]
    columns: tuple[ColumnProfile, ...]


class Judgement(Contract):
    """What validation found in a file; a finding means that the file as a whole is rejected."""

    unit: Unit = "line"
    rows: int = 0
    bad_rows: int = 0
    broken: tuple[BrokenRule, ...] = ()
    examples: tuple[BadRow, ...] = ()
    unexpected: tuple[str, ...] = ()  # columns the contract does not know
    absent: tuple[str, ...] = ()  # optional columns the file does not have: all null
    warnings: tuple[str, ...] = ()
    reading: Reading | None = None
    profile: Profile | None = None
    finding: Finding | None = None

    @property
    def accepted_rows(self) -> int:
        return 0 if self.finding else self.rows - self.bad_rows


def broken_rules(rules: Sequence[Rule], counts: Mapping[int, tuple[int, int]]) -> tuple[BrokenRule, ...]:
    """The rules with their rows and first line, by the rule's index; rules nobody broke are left out."""
    return tuple(
        BrokenRule(
            column=rule.column, rule=rule.name, expects=rule.expects, rows=counts[at][0], first_line=counts[at][1]
        )
        for at, rule in enumerate(rules)
        if at in counts
    )


def bad_row(rules: Sequence[Rule], line: int, broken: Sequence[int], reasons: Sequence[str]) -> BadRow:
    """An example with the columns its rules look at."""
    columns = dict.fromkeys(name for at in broken for name in rules[at].columns)
    return BadRow(line=line, columns=tuple(columns), reasons=tuple(reasons))


def remarks(judged: Judgement) -> tuple[str, ...]:
    """Sentences on what was accepted nevertheless: the warnings, and the rules that most bad rows broke."""
    if judged.finding is not None:
        return ()
    most = sorted(judged.broken, key=lambda rule: -rule.rows)[:_NAMED]
    put_aside = (
        f"{rule.column or 'The line'} must be {rule.expects}: {counted(rule.rows, 'row')}, the first in "
        f"{judged.unit} {rule.first_line}."
        for rule in most
    )
    return (*judged.warnings, *put_aside)


def judge_columns(plan: Plan) -> tuple[Finding | None, tuple[str, ...]]:
    """What the contract's policies say of unexpected and missing columns: a finding, or warnings."""
    warnings = []
    for kind, names, policy in (
        ("unexpected", plan.unexpected, plan.data.unexpected_columns),
        ("missing", plan.absent, plan.data.missing_columns),
    ):
        if names and policy == "reject":
            return policy_columns(kind, names), ()
        if names and policy == "warn":
            listed = ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
            what = "the contract does not know" if kind == "unexpected" else "the file does not have"
            warnings.append(f"{counted(len(names), 'column')} {what}: {listed}.")
    return None, tuple(warnings)


def judge(data: DataSection, judged: Judgement) -> Finding | None:
    """Why the file as a whole is rejected by the number of its rows, None if it is not."""
    good = judged.rows - judged.bad_rows
    if judged.rows == 0:
        return header_only(data.min_rows)
    if judged.bad_rows > Decimal(str(data.max_bad_rows)) * judged.rows:  # binary 0.29 x 100 is less than 29
        return _too_many_bad_rows(data, judged)
    whole = f"the whole file ({counted(judged.rows, 'row')}, {judged.bad_rows} of them bad)"
    if good < data.min_rows:
        return Finding(
            what=f"The file holds {counted(good, 'usable row')}, fewer than the contract asks for.",
            where=whole,
            why=f"data.min_rows is {data.min_rows}.",
            fix="Upload a more complete file, or lower data.min_rows in pipeline.yaml if such small files are right.",
        )
    if data.max_rows is not None and judged.rows > data.max_rows:
        return Finding(
            what=f"The file holds {counted(judged.rows, 'row')}, more than the contract allows.",
            where=whole,
            why=f"data.max_rows is {data.max_rows}.",
            fix="Look for rows that are there twice; split the file, or raise data.max_rows in pipeline.yaml.",
        )
    return None


def judge_profile(data: DataSection, profile: Profile, newest: datetime | None, received: datetime) -> Finding | None:
    """Why the file as a whole is rejected by what its accepted rows hold; times are naive and in UTC."""
    for column in profile.columns:
        limit = data.columns[column.column].max_null_share
        if limit is not None and column.nulls > Decimal(str(limit)) * profile.rows:
            return Finding(
                what=f"The column {column.column!r} is empty in {column.nulls:,} of {profile.rows:,} usable rows.",
                where=f"column {column.column}",
                why=f"Its max_null_share is {limit:g}.",
                fix=f"Export its values, or raise data.columns.{column.column}.max_null_share in pipeline.yaml.",
            )
    if data.max_age is not None and newest is not None and received - newest > data.max_age:
        return Finding(
            what=f"The data is too old: its newest {data.timestamp} is {newest:%Y-%m-%d %H:%M:%S} UTC.",
            where=f"column {data.timestamp}",
            why=f"data.max_age is {format_duration(data.max_age)}; the upload arrived on {received:%Y-%m-%d %H:%M}.",
            fix="Check that the export is not of an earlier day, or raise data.max_age in pipeline.yaml.",
        )
    return None


def _too_many_bad_rows(data: DataSection, judged: Judgement) -> Finding:
    share = f"more than the {data.max_bad_rows * 100:g} % it tolerates"
    tolerated = share if data.max_bad_rows else "which tolerates none"
    named = [
        f"{judged.unit} {row.line}" + (f", column {' and '.join(row.columns)}" if row.columns else "")
        for row in judged.examples[:_NAMED]
    ]
    more = judged.bad_rows - len(named)
    first = judged.examples[0]
    kinds = "; ".join(
        f"{counted(rule.rows, 'row')}: {rule.column or 'the line'} must be {rule.expects}" for rule in judged.broken
    )
    return Finding(
        what=f"{judged.bad_rows:,} of {counted(judged.rows, 'row')} break the data contract, {tolerated}.",
        where="; ".join(named) + (f"; and {counted(more, 'more row')}" if more else ""),
        why=f"In {judged.unit} {first.line}, {'; '.join(first.reasons)}. Broken rules: {kinds}.",
        fix="Correct these rows and upload the file again; the report lists the first of them. "
        "If the values are right, change the column's rule or data.max_bad_rows in pipeline.yaml.",
    )
