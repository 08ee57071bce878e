"""The pipeline definition: what a user writes, checked so that every error names the field and the fix."""

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core.core_schema import WithDefaultSchema

from ratchet.domain.code_bundle import CodeBundle
from ratchet.domain.data_contract import DataSection
from ratchet.domain.deploy_section import DeploySection
from ratchet.domain.fields import Duration, Section, format_duration

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
    features: FeaturesSection = Field(default_factory=FeaturesSection)
    train: TrainSection = Field(default_factory=TrainSection)
    gate: GateSection
    deploy: DeploySection = Field(default_factory=DeploySection)
    retrain: RetrainSection = Field(default_factory=RetrainSection)

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


class CompiledDefinition(Section):
    """What `apply` stores and every run reads: the definition, its code and its image, with holidays written out.

    Stored as canonical JSON at `definitions/<pipeline>/<definition_id>.json`; jobs read the same document, and so do
    functions that need a part of it only (`CompiledData`, `CompiledDeploy`, `ReportedDefinition`).
    """

    definition: Definition
    code: CodeBundle
    image_uri: str
    holidays: dict[str, tuple[str, ...]] = {}  # "US" -> ISO dates; the training container has no holidays package

    @property
    def pipeline(self) -> str:
        return self.definition.name


class _Schema(GenerateJsonSchema):
    def get_default_value(self, schema: WithDefaultSchema) -> Any:
        """A section that is left out is shown with its defaults."""
        section = schema.get("default_factory")
        return section() if section else super().get_default_value(schema)  # type: ignore[call-arg]

    def encode_default(self, dft: Any) -> Any:
        """Durations as a definition writes them, not as ISO 8601 does."""
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def json_schema() -> dict[str, Any]:
    """The schema of `pipeline.yaml`, published as docs/pipeline.schema.json for editors to complete and check by."""
    schema = Definition.model_json_schema(schema_generator=_Schema)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema}
