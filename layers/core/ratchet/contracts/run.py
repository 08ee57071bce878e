"""A run: what the retrain workflow carries from state to state, and what the ledger keeps of it."""

from enum import StrEnum

from pydantic import AliasChoices, AwareDatetime, Field

from ratchet.contracts.base import Contract, Finding, ForeignContract, PipelineName, S3Uri, Sha256


class RunOutcome(StrEnum):
    """How a run ended; DEPLOYED, REFUSED and NOTHING_TO_DO are final for its run key."""

    DEPLOYED = "DEPLOYED"
    REFUSED = "REFUSED"
    NOTHING_TO_DO = "NOTHING_TO_DO"
    FAILED = "FAILED"
    ROLLED_BACK = "ROLLED_BACK"  # a person put the previous champion back: no execution


class DefinitionRef(Contract):
    """The definition a pipeline runs with, and what triggers need to know of it without reading S3."""

    definition_id: str
    uri: str
    data_hash: str
    settle_seconds: int
    on_upload: bool
    retry_seconds: tuple[int, ...] = (300, 1800)  # waits before a failed run's work is tried again


class Run(Contract):
    """A claim on a pipeline: the retrain execution's input, carried whole through every state as `$.run`."""

    pipeline: PipelineName
    run_id: str  # also the execution's name: <pipeline>-g<fence>
    fence: int
    reason: str  # upload | schedule | manual | event | reconcile | retry
    forced: bool = False
    settle_seconds: int = 0


class Candidate(Contract):
    """One hyperparameter set to train, or trained already (`model_uri` is then set)."""

    name: str  # c1, c2, …
    key: Sha256  # step key
    job_name: str  # training job name without its retry suffix
    hyperparameters: dict[str, str]  # as SageMaker takes them, the two sagemaker_* script-mode entries included
    output_uri: S3Uri  # S3OutputPath
    training_job_name: str | None = None
    model_uri: S3Uri | None = None
    validation_score: float | None = None


class Watch(Contract):
    """When an endpoint is unwell: what its alarms compare with."""

    errors_5xx: float  # share of a minute's requests
    errors_4xx: float
    latency_p99_ms: float


class Scaling(Contract):
    """Bounds of an endpoint's instance count."""

    min: int
    max: int
    invocations_per_instance: float  # a minute


class Champion(Contract):
    """The model that serves; `null` in the state until a first one is deployed."""

    run_id: str
    model_name: str
    model_uri: S3Uri
    image_uri: str
    endpoint_name: str
    endpoint_config_name: str
    model_package_arn: str | None = None
    trained_until: str | None = None  # newest timestamp the model was fitted on, ISO 8601
    score: float  # the gate metric on its own run's holdout
    watch: Watch | None = None  # its endpoint's alarms
    scaling: Scaling | None = None


class Rollout(Contract):
    """The way from the gate to the endpoint, as the definition and the champion leave it."""

    trial: bool  # a short-lived endpoint is asked first
    approval: bool  # a person is asked
    shadow: bool  # the candidate gets copies of the champion's requests first
    bake_seconds: int  # of the shadow
    watch: Watch
    scaling: Scaling | None = None


class GlueJobRun(ForeignContract):
    """What the Preprocess Data state keeps: the job run as Glue describes it."""

    seconds: float | None = Field(default=None, alias="ExecutionTime")
    worker_type: str | None = Field(default=None, alias="WorkerType")
    workers: int | None = Field(default=None, alias="NumberOfWorkers")


class PreprocessPlan(Contract):
    """The Glue step: where its output stands, and the arguments it runs with."""

    key: Sha256
    known: bool  # the output exists already: the run starts at training
    output_uri: S3Uri  # ends in /
    script_uri: S3Uri
    arguments: dict[str, str]
    job: GlueJobRun | None = None  # once it ran


class TrainPlan(Contract):
    """The training step: candidates to train now, and those whose model exists."""

    image_uri: str
    train_uri: S3Uri
    validation_uri: S3Uri
    definition_uri: S3Uri
    max_runtime_seconds: int
    candidates: tuple[Candidate, ...]  # to train
    reused: tuple[Candidate, ...] = ()


class RunPlan(Contract):
    """Check Idempotency's answer: nothing to do, or every identity the run needs."""

    outcome: str  # NEW_WORK | NOTHING_TO_DO
    because: str  # one sentence for people
    snapshot_id: Sha256 | None = None
    definition_id: Sha256 | None = None
    work_seq: int = 0
    uploads: int = 0
    preprocess: PreprocessPlan | None = None
    train: TrainPlan | None = None
    champion: Champion | None = None
    rollout: Rollout | None = None


class TrainingResult(Contract):
    """What a completed training job left, as DescribeTrainingJob says."""

    training_job_name: str
    model_uri: S3Uri
    metrics: tuple[dict[str, object], ...]  # FinalMetricDataList
    billable_seconds: int
    instance_type: str | None = None


class ModelToScore(Contract):
    """One model for batch transform over the holdout."""

    role: str  # candidate | champion
    model_name: str
    job_name: str  # transform job name without its retry suffix
    output_uri: S3Uri  # ends in /


class Selection(Contract):
    """The best candidate on the validation split, and what to score on the holdout."""

    candidate: Candidate
    model_name: str
    image_uri: str
    environment: dict[str, str]  # of the serving container
    holdout_uri: S3Uri  # ends in /
    models_to_score: tuple[ModelToScore, ...]


class Evaluation(Contract):
    """The gate's verdict. The full decision document is at `decision_uri`."""

    outcome: str  # PROMOTE | REFUSE
    metric: str
    candidate: float
    champion: float | None
    naive: float | None
    threshold: float
    sentence: str
    finding: Finding | None  # set when refused
    decision_uri: S3Uri
    trained_until: str | None = None


class Purpose(StrEnum):
    """What an endpoint change is for."""

    SERVE = "serve"  # the candidate serves at the pipeline's endpoint
    TRIAL = "trial"  # the candidate alone on an endpoint of its own
    SHADOW = "shadow"  # the champion serves, the candidate gets copies


class DeploymentResult(Contract):
    """The endpoint serves the wanted configuration."""

    endpoint_name: str
    endpoint_config_name: str
    seconds: float
    started_at: AwareDatetime | None = None  # None before it was recorded


class Verification(Contract):
    """Golden predictions agreed; latencies in milliseconds, seen from the function."""

    rows: int
    largest_difference: float
    latency_p50_ms: float
    latency_max_ms: float


class VariantHealth(Contract):
    """One variant's CloudWatch metrics over a time."""

    requests: int
    errors_4xx: int
    errors_5xx: int
    latency_p99_ms: float

    @property
    def error_rate(self) -> float:
        """Of both kinds."""
        return (self.errors_4xx + self.errors_5xx) / self.requests if self.requests else 0.0


class ShadowComparison(Contract):
    """What was compared: error rates and latency. The answers themselves were not."""

    champion: VariantHealth
    candidate: VariantHealth
    seconds: float
    sentence: str


class Decision(StrEnum):
    """A person's answer to an approval request."""

    APPROVED = "APPROVED"
    REJECTED = "REJECTED"


class ApprovalAnswer(Contract):
    """What a person decided, and who."""

    outcome: Decision
    by: str  # the caller's ARN
    reason: str


class TaskError(Contract):
    """What Catch writes to `$.error`, as it is; Step Functions may leave Cause out (a timeout has none)."""

    error: str = Field(validation_alias=AliasChoices("error", "Error"))
    cause: str = Field(default="", validation_alias=AliasChoices("cause", "Cause"))


class Announcement(Contract):
    """The detail of every event on the custom bus; notify writes the message for people from it."""

    pipeline: str
    subject: str  # one line: "traffic: model deployed"
    sentence: str
    finding: Finding | None = None  # set on rejections, refusals and failures
    run_id: str | None = None
    upload_key: str | None = None
    numbers: dict[str, float] = {}
    links: dict[str, str] = {}  # label -> S3 URI or command
