"""Ratchet without AWS: every use case over fakes, and the jobs' outputs written where the jobs would write them."""

import io
import json
import tarfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ratchet.adapters.memory_ledger import MemoryLedger
from ratchet.adapters.memory_store import MemoryStore
from ratchet.adapters.report.page import page_of
from ratchet.contracts.closing import CloseRunRequest, CloseRunResult
from ratchet.contracts.run import (
    DeploymentResult,
    Evaluation,
    Purpose,
    Run,
    RunOutcome,
    RunPlan,
    Selection,
    TrainingResult,
)
from ratchet.contracts.starting import StartRunRequest
from ratchet.contracts.states import (
    CheckIdempotencyRequest,
    DeployEndpointRequest,
    EvaluateModelRequest,
    SelectCandidateRequest,
    TrainedCandidate,
    VerifyEndpointRequest,
)
from ratchet.domain.approving import RecordApproval, RequestApproval
from ratchet.domain.audit import Audit
from ratchet.domain.closing import CloseRun
from ratchet.domain.definition import CompiledDefinition
from ratchet.domain.deploying import DeployEndpoint
from ratchet.domain.evaluation import EvaluateModel
from ratchet.domain.ledger import PipelineState, RunRecord
from ratchet.domain.planning import CheckIdempotency
from ratchet.domain.ports import Prediction, ScoringJob
from ratchet.domain.questions import Questions
from ratchet.domain.reconciliation import Reconcile
from ratchet.domain.reporting import WriteReport
from ratchet.domain.resuming import ResumeDeployment
from ratchet.domain.selection import SelectCandidate
from ratchet.domain.shadowing import CompareShadow
from ratchet.domain.starting import StartRun
from ratchet.domain.verifying import VerifyEndpoint
from tests.unit import samples
from tests.unit.fakes import (
    FakeClock,
    FakeEndpoints,
    FakeJobs,
    FakePublisher,
    FakeSchedule,
    FakeScoringJobs,
    FakeTrainingJobs,
    FakeWorkflow,
)

ENDPOINT = f"{samples.PREFIX}-traffic"
HOLDOUT_DAYS = 28


@dataclass
class World:
    """One pipeline, `traffic`, and everything around it."""

    clock: FakeClock = field(default_factory=FakeClock)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    store: MemoryStore = field(default_factory=MemoryStore)
    workflow: FakeWorkflow = field(default_factory=FakeWorkflow)
    publisher: FakePublisher = field(default_factory=FakePublisher)
    schedule: FakeSchedule = field(default_factory=FakeSchedule)
    jobs: FakeTrainingJobs = field(default_factory=FakeTrainingJobs)
    at_work: FakeJobs = field(default_factory=FakeJobs)
    scoring: FakeScoringJobs = field(default_factory=FakeScoringJobs)
    uploads: int = 0

    def __post_init__(self) -> None:
        self.endpoints = FakeEndpoints(self.clock)
        self.start_run = StartRun(self.ledger, self.workflow, self.clock)
        self.close_run = CloseRun(
            self.ledger, self.endpoints, self.start_run, self.clock, samples.PREFIX, self.at_work, self.schedule
        )
        self.check_idempotency = CheckIdempotency(
            self.ledger, self.store, self.jobs, self.close_run, self.clock, samples.ARTIFACTS, samples.PREFIX
        )
        self.select_candidate = SelectCandidate(
            self.ledger, self.store, self.jobs, self.clock, samples.ARTIFACTS, samples.PREFIX
        )
        self.evaluate_model = EvaluateModel(self.ledger, self.store, self.clock, samples.ARTIFACTS)
        self.write_report = WriteReport(self.ledger, self.store, self.scoring, self.clock, page_of, samples.ARTIFACTS)
        self.deploy_endpoint = DeployEndpoint(
            self.ledger,
            self.store,
            self.endpoints,
            self.workflow,
            self.clock,
            samples.PREFIX,
            "test",
            samples.ARTIFACTS,
        )
        self.resume_deployment = ResumeDeployment(
            self.ledger, self.endpoints, self.workflow, self.clock, samples.PREFIX
        )
        self.verify_endpoint = VerifyEndpoint(self.store, self.endpoints)
        self.compare_shadow = CompareShadow(self.ledger, self.endpoints, self.clock)
        self.request_approval = RequestApproval(self.ledger, self.workflow, self.publisher, self.clock)
        self.record_approval = RecordApproval(self.ledger, self.workflow, self.clock)
        self.ask = Questions(
            self.ledger, self.store, self.workflow, self.endpoints, self.clock, samples.DATA, samples.PREFIX
        )
        self.reconcile = Reconcile(self.ask, self.publisher, self.start_run, self.close_run, self.resume_deployment)
        self.audit = Audit(self.ask)

    def apply(self, on_upload: bool = True, **changes: Any) -> CompiledDefinition:
        """`ratchet apply`."""
        compiled = samples.compiled(**changes)
        ref = samples.definition_ref(compiled, on_upload)
        self.store.write_json(ref.uri, samples.stored_definition(compiled))
        self.ledger.apply_definition("traffic", ref)
        return compiled

    def accept(self, count: int = 1) -> None:
        """Validation's part for new uploads."""
        definition = self.state.definition
        assert definition is not None
        for _ in range(count):
            self.uploads += 1
            self.ledger.record_object("traffic", samples.upload(self.uploads))
            self.ledger.accept("traffic", samples.verdict(self.uploads, data_hash=definition.data_hash))

    def start(self, reason: str = "upload", forced: bool = False) -> Run:
        result = self.start_run(StartRunRequest(pipeline="traffic", reason=reason, forced=forced))
        assert result.started, result.because
        return self.workflow.started[-1]

    @property
    def state(self) -> PipelineState:
        state = self.ledger.pipeline("traffic")
        assert state is not None
        return state

    def record(self, run: Run) -> RunRecord:
        record = self.ledger.run("traffic", run.run_id)
        assert record is not None
        return record

    def arn(self, run: Run) -> str:
        return self.workflow.retrain_execution_arn(run.run_id)

    def plan(self, run: Run) -> RunPlan:
        return self.check_idempotency(CheckIdempotencyRequest(run=run, execution_arn=self.arn(run)))

    def preprocess(self, plan: RunPlan, rows: list[dict[str, Any]] | None = None, until: str | None = None) -> None:
        """The Glue job's part."""
        assert plan.preprocess is not None
        output = plan.preprocess.output_uri
        lines = rows if rows is not None else holdout()
        for part in ("train", "validation"):
            self.store.write(f"{output}{part}/part-0.parquet", b"rows")
        self.store.write(f"{output}holdout/part-0.jsonl", jsonl(lines))
        self.store.write_json(f"{output}summary.json", {"trained_until": until})

    def train(self, plan: RunPlan, scores: tuple[float, ...] = (0.93,)) -> tuple[TrainingResult, ...]:
        """SageMaker's part; one result per candidate."""
        assert plan.train is not None
        results = []
        for candidate, score in zip(plan.train.candidates, scores, strict=False):
            name = f"{candidate.job_name}-0"
            uri = f"{candidate.output_uri}{name}/output/model.tar.gz"
            self.store.write(uri, b"model")
            self.store.write(
                uri.replace("model.tar.gz", "output.tar.gz"), importance({"datetime:hour": 70, "temp": 30})
            )
            metric = {"MetricName": "validation_score", "Value": score, "Timestamp": 1772366400.0}
            self.jobs.ended[name] = TrainingResult(
                training_job_name=name,
                model_uri=uri,
                metrics=(metric,),
                billable_seconds=40,
                instance_type="ml.m5.large",
            )
            results.append(self.jobs.ended[name])
        return tuple(results)

    def select(self, run: Run, plan: RunPlan, trained: tuple[TrainingResult, ...]) -> Selection:
        jobs = tuple(TrainedCandidate(training_job_name=result.training_job_name) for result in trained)
        return self.select_candidate(SelectCandidateRequest(run=run, plan=plan, trained=jobs))

    def score(self, selection: Selection, candidate: float = 0.05, champion: float = 0.15) -> None:
        """Batch transform's part: each model is wrong by its share, up and down in turns."""
        rows = [json.loads(line) for uri in self.store.list(selection.holdout_uri) for line in self.store.lines(uri)]
        for model in selection.models_to_score:
            share = candidate if model.role == "candidate" else champion
            answers = [
                {"row": row["row"], "SageMakerOutput": {"prediction": off_by(row["actual"], share, row["row"])}}
                for row in rows
            ]
            self.store.write(f"{model.output_uri}part-0.jsonl.out", jsonl(answers))
            self.scoring.ended[f"{model.job_name}-0"] = ScoringJob(90, "ml.m5.large")

    def evaluate(self, run: Run, plan: RunPlan, selection: Selection) -> Evaluation:
        return self.evaluate_model(EvaluateModelRequest(run=run, plan=plan, selection=selection))

    def deploy(self, run: Run, selection: Selection, attempt: int = 1, purpose: Purpose = Purpose.SERVE) -> None:
        token = f"token-{attempt}" if purpose is Purpose.SERVE else f"{purpose}-{attempt}"
        request = DeployEndpointRequest(run=run, selection=selection, task_token=token, purpose=purpose)
        self.deploy_endpoint(request)

    def verify(self, run: Run, selection: Selection, deployment: DeploymentResult) -> Any:
        return self.verify_endpoint(VerifyEndpointRequest(run=run, selection=selection, deployment=deployment))

    def answer_like(self, selection: Selection, count: int = 20) -> None:
        """The endpoint will answer what batch transform did, for rows spread over the holdout."""
        uri = self.store.list(selection.models_to_score[0].output_uri)[0]
        outputs = [json.loads(line)["SageMakerOutput"] for line in self.store.lines(uri)]
        step = len(outputs) // count
        self.endpoints.predictions = [Prediction(output, 12.0) for output in outputs[::step][:count]]

    def close(self, run: Run, outcome: RunOutcome, **found: Any) -> CloseRunResult:
        return self.close_run(CloseRunRequest(run=run, execution_arn=self.arn(run), outcome=outcome, **found))

    def judged(self, candidate: float = 0.05, until: str | None = None) -> tuple[Run, RunPlan, Selection, Evaluation]:
        """A run up to its evaluation."""
        run = self.start()
        plan = self.plan(run)
        self.preprocess(plan, until=until)
        selection = self.select(run, plan, self.train(plan))
        self.score(selection, candidate)
        return run, plan, selection, self.evaluate(run, plan, selection)

    def deployed(self, candidate: float = 0.05, until: str | None = "2026-01-31T23:00:00") -> Run:
        """A whole run that becomes champion."""
        run, plan, selection, evaluation = self.judged(candidate, until)
        assert evaluation.outcome == "PROMOTE", evaluation.sentence
        self.deploy(run, selection)
        under_way = self.ledger.deployment("traffic")
        assert under_way is not None
        self.endpoints.finish(under_way.endpoint_name)
        self.resume_deployment(ENDPOINT)
        _, deployment = self.workflow.answers[-1]
        self.close(
            run,
            RunOutcome.DEPLOYED,
            plan=plan,
            selection=selection,
            evaluation=evaluation,
            deployment=deployment,
            model_package_arn="arn:aws:sagemaker:eu-west-1:123456789012:model-package/ratchet-dev/1",
        )
        return run


def off_by(actual: float, share: float, row: int) -> float:
    """Wrong by `share`, a little more on some days than on others."""
    wobble = 1 + 0.2 * ((row // 24) % 5 - 2) / 2
    sign = 1 if row % 2 else -1
    return round(actual * (1 + share * wobble * sign), 6)


def holdout(start: datetime = datetime(2026, 2, 1), days: int = HOLDOUT_DAYS) -> list[dict[str, Any]]:  # noqa: DTZ001
    """An hourly holdout after January; the naive forecast is wrong by 20 %."""
    lines = []
    for hour in range(days * 24):
        time = (start + timedelta(hours=hour)).isoformat()
        actual = 3000 + 1000 * (hour % 24) / 24
        record = {"datetime": time, "temp": 280.5, "weather_main": "Clear" if hour % 3 else "Fog"}
        lines.append(
            {"row": hour, "actual": actual, "naive": off_by(actual, 0.2, hour), "time": time, "record": record}
        )
    return lines


def importance(gains: dict[str, float]) -> bytes:
    """A training job's output, as SageMaker packs it."""
    content = json.dumps(gains).encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("feature_importance.json")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def jsonl(documents: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(document) + "\n" for document in documents).encode()
