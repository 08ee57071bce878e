"""The pipeline definition: what a user writes, checked so that every error names the field and the fix."""

import re
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema

_DURATION = re.compile(r"^(\d+)\s*(s|m|h|d)$")
# Rows are matched by RE2: linear in the value's length, so that no pattern can stall validation.
_NOT_RE2 = re.compile(r"\(\?(=|!|<=|<!|>|P=|\()|(?<!\\)(\\\\)*\\[1-9]")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(value: object) -> object:
    """`28d`, `12h`, `5m`, `60s` → timedelta; anything else is left for pydantic to refuse."""
    if isinstance(value, str) and (match := _DURATION.match(value.strip())):
        return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
    if isinstance(value, timedelta):
        return value
    raise ValueError(f"{value!r} is not a duration; write a whole number and a unit, such as 60s, 5m, 12h or 28d")


def format_duration(value: timedelta) -> str:
    """The shortest exact spelling of a duration: `28d`, `90s`."""
    seconds = int(value.total_seconds())
    unit = next((u for u in ("d", "h", "m") if seconds and seconds % _SECONDS[u] == 0), "s")
    return f"{seconds // _SECONDS[unit]}{unit}"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _DURATION.pattern}),
]


class Section(BaseModel):
    """A part of the definition: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class ColumnRule(Section):
    """What a column must hold; a row that breaks a rule is a bad row."""

    type: Literal["timestamp", "number", "integer", "string", "boolean"]
    required: bool = False  # a null is a broken rule; target, timestamp and key are required anyway
    min: Annotated[float, Field(allow_inf_nan=False)] | None = None
    max: Annotated[float, Field(allow_inf_nan=False)] | None = None
    allowed: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    pattern: str | None = None  # of the whole value, in RE2's syntax

    @field_validator("pattern")
    @classmethod
    def _pattern_compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is not a regular expression ({error}); correct it") from error
            if _NOT_RE2.search(pattern):
                raise ValueError(f"{pattern!r} looks around or back, which RE2 cannot; write it without or use allowed")
        return pattern

    @model_validator(mode="after")
    def _rules_fit_type(self) -> Self:
        if (self.min is not None or self.max is not None) and self.type not in ("number", "integer"):
            raise ValueError(
                f"min and max need type number or integer, not {self.type}; remove them or change the type"
            )
        if (self.allowed is not None or self.pattern is not None) and self.type != "string":
            raise ValueError(f"allowed and pattern need type string, not {self.type}; remove them or change the type")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}; swap them")
        return self


class DataSection(Section):
    """The data contract."""

    format: Literal["csv", "parquet", "jsonl"] = "csv"  # each also gzip
    delimiter: Literal[",", ";", "\t", "|"] = ","  # of csv
    target: str
    task: Literal["regression", "classification"]
    timestamp: str | None = None  # without it the holdout is a stable hash split
    key: tuple[str, ...] = ()  # rows with the same key: latest upload wins
    series: tuple[str, ...] = ()  # columns that tell time series apart; by default the key's besides the timestamp
    columns: Annotated[dict[Annotated[str, Field(min_length=1)], ColumnRule], Field(min_length=2)]
    max_bad_rows: Annotated[float, Field(ge=0, le=1)] = 0.0
    min_rows: Annotated[int, Field(ge=1)] = 1
    window: Duration | None = None

    @model_validator(mode="after")
    def _named_columns_exist(self) -> Self:
        named = {
            "target": (self.target,),
            "timestamp": (self.timestamp,) if self.timestamp else (),
            "key": self.key,
            "series": self.series,
        }
        for field, names in named.items():
            for name in names:
                if name not in self.columns:
                    raise ValueError(f"{field} names the column {name!r}, which data.columns lacks; add it there")
        if self.timestamp and self.columns[self.timestamp].type != "timestamp":
            raise ValueError(f"timestamp names {self.timestamp!r}, whose type is not timestamp; change its type")
        if self.series and not self.timestamp:
            raise ValueError("series tells time series apart, but there is no timestamp; add one or remove series")
        if bad := {self.target, self.timestamp}.intersection(self.series):
            raise ValueError(f"series names {bad.pop()!r}, which is the target or the timestamp; name other columns")
        folded = [name.casefold() for name in self.columns]
        if alike := [name for name in self.columns if folded.count(name.casefold()) > 1]:
            raise ValueError(
                f"{' and '.join(alike)} differ by case alone, which SQL engines ignore; rename one of them"
            )
        if reserved := [name for name in self.columns if name.startswith("ratchet_")]:
            raise ValueError(f"column names starting with ratchet_ are reserved; rename {reserved[0]!r}")
        return self


Calendar = Annotated[str, Field(pattern=r"^(hour|weekday|month|dayofyear|trend|holiday:[A-Z]{2}(-[A-Z0-9]{1,3})?)$")]


class FeaturesSection(Section):
    """Features computed the same way at training and at serving, from one record alone."""

    calendar: tuple[Calendar, ...] = ()
    exclude: tuple[str, ...] = ()  # columns the model must not see


class TrainSection(Section):
    """How candidates are trained."""

    algorithm: Literal["xgboost"] = "xgboost"
    image_uri: str | None = None  # another image than the stack's
    hyperparameters: dict[str, float | int | str] = {}
    candidates: tuple[dict[str, float | int | str], ...] = ()  # extra sets, each over the defaults above
    max_runtime: Duration = timedelta(hours=1)


Metric = Literal[
    "forecast_accuracy",
    "mae",
    "rmse",
    "r2",
    "mape",
    "smape",
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "f1",
    "auc",
    "log_loss",
]
CLASSIFICATION_METRICS: frozenset[Metric] = frozenset(
    {"accuracy", "balanced_accuracy", "precision", "recall", "f1", "auc", "log_loss"}
)
OF_POSITIVE: frozenset[Metric] = frozenset({"precision", "recall", "f1", "auc"})


def _label(value: object) -> object:
    """A class as the data spell it: YAML's `true` and `1` are the labels "true" and "1"."""
    return str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int | float) else value


Label = Annotated[str, BeforeValidator(_label)]


class SlicesSection(Section):
    """Slices that must not regress against the champion."""

    columns: tuple[str, ...]
    max_regression: Annotated[float, Field(gt=0, lt=1)] = 0.05
    min_rows: Annotated[int, Field(ge=1)] = 30


class GateSection(Section):
    """When a candidate may replace the champion."""

    metric: Metric
    threshold: float
    holdout: Duration | Annotated[float, Field(gt=0, lt=0.5)] = timedelta(
        days=28
    )  # duration with a timestamp, else a share of rows
    season: Duration | None = None  # of the naive forecast; null detects it, and the decision says which
    positive: Label | None = None  # the class of precision, recall, f1 and auc; null averages over the classes
    beat_naive: bool = True
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.90
    slices: SlicesSection | None = None


class DeploySection(Section):
    """Where and how the champion serves."""

    mode: Literal["serverless", "instance"] = "serverless"
    strategy: Literal["all_at_once"] = "all_at_once"
    instances: Annotated[int, Field(ge=1)] = 1
    instance_type: Annotated[str, Field(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$")] = "ml.m5.large"
    memory_mb: Literal[1024, 2048, 3072, 4096, 5120, 6144] = 2048  # serverless
    max_concurrency: Annotated[int, Field(ge=1, le=200)] = 10  # serverless
    verify: Literal["after"] = "after"
    approval: Literal["none"] = "none"
    capture: Annotated[int, Field(ge=0, le=100)] = 100  # percent of the requests that are kept for monitoring
    idle_after: Duration | None = None  # without requests for so long an instance endpoint is deleted; null: never


class RetrainSection(Section):
    """What starts a run, besides `ratchet run`."""

    on_upload: bool = True
    settle: Duration = timedelta(seconds=60)
    schedule: str | None = "cron(0 2 * * ? *)"
    timezone: str = "UTC"
    retry_after: Annotated[tuple[Duration, ...], Field(max_length=2)] = (timedelta(minutes=5), timedelta(minutes=30))


class Definition(Section):
    """One pipeline, as `pipeline.yaml` states it."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,23}$")]
    description: str = ""
    data: DataSection
    features: FeaturesSection = FeaturesSection()
    train: TrainSection = TrainSection()
    gate: GateSection
    deploy: DeploySection = DeploySection()
    retrain: RetrainSection = RetrainSection()

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.data.timestamp and isinstance(self.gate.holdout, float):
            raise ValueError(
                "gate.holdout is a share, but data.timestamp makes it the newest rows; write a duration such as 28d"
            )
        if not self.data.timestamp and isinstance(self.gate.holdout, timedelta):
            raise ValueError("gate.holdout is a duration, but there is no data.timestamp; write a share such as 0.2")
        if (self.gate.metric in CLASSIFICATION_METRICS) != (self.data.task == "classification"):
            raise ValueError(
                f"gate.metric {self.gate.metric} does not fit data.task {self.data.task}; choose another metric"
            )
        if self.gate.positive is not None and self.gate.metric not in OF_POSITIVE:
            raise ValueError(
                f"gate.positive means nothing to gate.metric {self.gate.metric}; remove it, or choose one of"
                f" {', '.join(sorted(OF_POSITIVE))}"
            )
        for name in (*self.features.exclude, *(self.gate.slices.columns if self.gate.slices else ())):
            if name not in self.data.columns:
                raise ValueError(
                    f"features.exclude or gate.slices names {name!r}, which data.columns lacks; add it there"
                )
        return self


class CodeBundle(Section):
    """The content-addressed code a definition runs with, all in the artifacts bucket."""

    model_uri: str  # tar.gz of jobs/model: SageMaker's submit directory
    model_sha256: str
    preprocess_uri: str  # the Glue script
    preprocess_sha256: str
    wheel_uri: str  # narwhals, for the Glue script
    wheel_sha256: str


class CompiledDefinition(Section):
    """What `apply` stores and every run reads: the definition, its code and its image, with holidays written out.

    Stored as canonical JSON at `definitions/<pipeline>/<definition_id>.json`; jobs read the same document.
    """

    definition: Definition
    code: CodeBundle
    image_uri: str
    holidays: dict[str, tuple[str, ...]] = {}  # "US" -> ISO dates; the training container has no holidays package

    @property
    def pipeline(self) -> str:
        return self.definition.name


class _Schema(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        """Durations as a definition writes them, not as ISO 8601 does."""
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def json_schema() -> dict[str, Any]:
    """The schema of `pipeline.yaml`, published as docs/pipeline.schema.json for editors to complete and check by."""
    schema = Definition.model_json_schema(schema_generator=_Schema)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema}


def canonical(model: BaseModel) -> dict[str, Any]:
    """The JSON form that identities are computed from: defaults written out, durations as text."""
    return model.model_dump(mode="json")
