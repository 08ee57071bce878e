"""What a run's report says, before anybody draws it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import AliasPath, Field

from ratchet.contracts.base import Finding, ForeignContract
from ratchet.domain.ledger import Approval, RunRecord
from ratchet.domain.lineage import ModelLineage
from ratchet.domain.savings import StepUse

Points = tuple[tuple[datetime, float], ...]


class ReportedColumn(ForeignContract):
    """What a report needs of a column's rule."""

    type: str


class ReportedDefinition(ForeignContract):
    """What a report needs of the compiled definition that the run ran with."""

    task: str = Field(validation_alias=AliasPath("definition", "data", "task"))
    target: str = Field(validation_alias=AliasPath("definition", "data", "target"))
    timestamp: str | None = Field(validation_alias=AliasPath("definition", "data", "timestamp"))
    columns: dict[str, ReportedColumn] = Field(validation_alias=AliasPath("definition", "data", "columns"))
    slices: tuple[str, ...] | None = Field(  # the gate's columns
        default=None, validation_alias=AliasPath("definition", "gate", "slices", "columns")
    )
    mode: str = Field(validation_alias=AliasPath("definition", "deploy", "mode"))
    memory_mb: int = Field(validation_alias=AliasPath("definition", "deploy", "memory_mb"))
    instances: int = Field(validation_alias=AliasPath("definition", "deploy", "instances"))
    instance_type: str = Field(validation_alias=AliasPath("definition", "deploy", "instance_type"))


class Course(NamedTuple):
    """A quantity over time; the unit of time that each point stands for."""

    period: str  # hour | day | week | month
    lines: Mapping[str, Points]  # name -> points; drawn in this order

    def rows(self) -> list[tuple[datetime, list[float | None]]]:
        """Each time with every line's value, None where a line has none."""
        by_line = [dict(points) for points in self.lines.values()]
        times = sorted({time for points in by_line for time in points})
        return [(time, [points.get(time) for points in by_line]) for time in times]


class SliceError(NamedTuple):
    """The models' errors on the rows of one slice: mean absolute error, or the share of wrong answers."""

    column: str
    value: str
    rows: int
    candidate: float
    champion: float | None
    bias: float | None  # mean of predicted - actual; None for classes


class Bin(NamedTuple):
    """A bar of a histogram."""

    low: float
    high: float
    rows: int


class Regression(NamedTuple):
    """How predicted numbers stand to actual ones; `pairs` are a sample of about MAX_POINTS rows."""

    recent: Course | None  # actual and predicted values, newest part of the holdout; None without a timestamp
    pairs: tuple[tuple[float, float], ...]  # (actual, predicted) of the candidate
    residuals: tuple[Bin, ...]  # predicted - actual, of the candidate
    bias: float
    mean_error: float  # mean absolute


class ClassScore(NamedTuple):
    """One class, one against the rest."""

    name: str
    rows: int
    precision: float | None  # None when it was never predicted
    recall: float | None  # None when it never occurred


class Trust(NamedTuple):
    """Answers of about the same stated probability: how often they were right."""

    stated: float
    right: float
    rows: int


class Classification(NamedTuple):
    """How predicted classes stand to actual ones."""

    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]  # actual class -> predicted class -> rows, in the order of `classes`
    calibration: tuple[Trust, ...]  # empty when the model states no probabilities


class Scores(NamedTuple):
    """What the holdout shows of candidate, champion and naive forecast."""

    rows: int  # of the holdout
    used: int  # of them; fewer when the figures are of a sample
    errors: Course | None  # None without a timestamp
    slices: tuple[SliceError, ...]
    detail: Regression | Classification


class UploadQuality(NamedTuple):
    """What validation said of one upload."""

    key: str
    outcome: str
    judged_at: datetime
    rows: int
    bad_rows: int
    finding: Finding | None


class BrokenTotal(NamedTuple):
    """How often a rule of the data contract was broken, over all the uploads."""

    column: str | None
    rule: str
    expects: str
    rows: int
    uploads: int


class Quality(NamedTuple):
    """The uploads that are new since the run before this one, and those rejected meanwhile."""

    before: str | None  # the earlier run
    uploads: tuple[UploadQuality, ...]  # newest first
    broken: tuple[BrokenTotal, ...]  # most rows first
    unread: int = 0  # uploads whose validation report was not read, because they are too many


class ScoringUse(NamedTuple):
    """A batch transform job that answered for the holdout."""

    role: str
    seconds: float | None
    dollars: float | None


class Report(NamedTuple):
    """Everything a page about one run holds; what the run did not reach, or lost since, is None or empty."""

    record: RunRecord
    written_at: datetime
    definition: ReportedDefinition | None = None
    decision: Mapping[str, Any] | None = None  # the judge's document
    scores: Scores | None = None
    importance: tuple[tuple[str, float], ...] = ()  # share of all gain, greatest first
    quality: Quality | None = None
    lineage: ModelLineage | None = None
    approval: Approval | None = None  # as a person was asked for it, decided or not
    steps: tuple[StepUse, ...] = ()
    scoring: tuple[ScoringUse, ...] = ()
    gaps: tuple[str, ...] = ()  # what could not be read, and why
