"""What the mocked services answer, built from the contracts: so contracts and workflows are tested together."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ratchet.contracts.base import Finding
from ratchet.contracts.closing import CloseRunResult
from ratchet.contracts.ingest import LargeUpload, ValidateDataResult, VerdictOutcome
from ratchet.contracts.report import WriteReportResult
from ratchet.contracts.run import (
    Announcement,
    ApprovalAnswer,
    Candidate,
    Champion,
    Decision,
    DeploymentResult,
    Evaluation,
    ModelToScore,
    PreprocessPlan,
    Rollout,
    Run,
    RunOutcome,
    RunPlan,
    Selection,
    ShadowComparison,
    TrainPlan,
    VariantHealth,
    Verification,
    Watch,
)
from ratchet.contracts.starting import StartRunResult

RUN_ID = "traffic-g7"
ARTIFACTS = "s3://artifacts"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.0-5"
PACKAGE_ARN = "arn:aws:sagemaker:us-east-1:123456789012:model-package/ratchet-test/4"

RUN = Run(pipeline="traffic", run_id=RUN_ID, fence=7, reason="upload")
FINDING = Finding(what="It is not better.", where="gate.confidence", why="P is 0.61.", fix="Wait for more data.")


def sha(digit: str) -> str:
    """A step key, or another SHA-256."""
    return digit * 64


def candidate(number: int) -> Candidate:
    """An untrained candidate."""
    return Candidate(
        name=f"c{number}",
        key=sha(str(number)),
        job_name=f"ratchet-test-{RUN_ID}-c{number}",
        hyperparameters={"max_depth": "8", "sagemaker_program": "train.py"},
        output_uri=f"{ARTIFACTS}/steps/traffic/train/{sha(str(number))}/",
    )


CHAMPION = Champion(
    run_id="traffic-g5",
    model_name="ratchet-test-traffic-g5",
    model_uri=f"{ARTIFACTS}/steps/traffic/train/{sha('9')}/model.tar.gz",
    image_uri=IMAGE,
    endpoint_name="ratchet-test-traffic",
    endpoint_config_name="ratchet-test-traffic-g5",
    score=0.91,
)


WATCH = Watch(errors_5xx=0.01, errors_4xx=0.1, latency_p99_ms=1000)
STRAIGHT = Rollout(trial=False, approval=False, shadow=False, bake_seconds=0, watch=WATCH)


def plan(
    known: bool = False, candidates: int = 1, champion: Champion | None = None, rollout: Rollout = STRAIGHT
) -> RunPlan:
    """New work: with or without its preprocessing, so many candidates, the champion to beat, and the way to serve."""
    return RunPlan(
        outcome="NEW_WORK",
        because="2 uploads are new.",
        snapshot_id=sha("a"),
        definition_id=sha("b"),
        work_seq=3,
        uploads=2,
        preprocess=PreprocessPlan(
            key=sha("c"),
            known=known,
            output_uri=f"{ARTIFACTS}/steps/traffic/preprocess/{sha('c')}/",
            script_uri=f"{ARTIFACTS}/bundles/{sha('d')}/preprocess.py",
            arguments={"--snapshot": f"{ARTIFACTS}/snapshots/traffic/{sha('a')}.json"},
        ),
        train=TrainPlan(
            image_uri=IMAGE,
            train_uri=f"{ARTIFACTS}/steps/traffic/preprocess/{sha('c')}/train/",
            validation_uri=f"{ARTIFACTS}/steps/traffic/preprocess/{sha('c')}/validation/",
            definition_uri=f"{ARTIFACTS}/definitions/traffic/{sha('b')}.json",
            max_runtime_seconds=3600,
            candidates=tuple(candidate(number + 1) for number in range(candidates)),
        ),
        champion=champion,
        rollout=rollout,
    )


NOTHING_TO_DO = RunPlan(outcome="NOTHING_TO_DO", because="The same data and definition were refused by traffic-g6.")


def selection(champion: Champion | None = None) -> Selection:
    """The first candidate, trained; the champion scores the holdout too when there is one."""
    trained = candidate(1).model_copy(
        update={"training_job_name": "job-0", "model_uri": f"{ARTIFACTS}/model.tar.gz", "validation_score": 0.93}
    )
    roles = {"candidate": f"ratchet-test-{RUN_ID}"} | ({"champion": champion.model_name} if champion else {})
    return Selection(
        candidate=trained,
        model_name=f"ratchet-test-{RUN_ID}",
        image_uri=IMAGE,
        environment={"SAGEMAKER_PROGRAM": "inference.py"},
        holdout_uri=f"{ARTIFACTS}/steps/traffic/preprocess/{sha('c')}/holdout/",
        models_to_score=tuple(
            ModelToScore(
                role=role,
                model_name=model,
                job_name=f"ratchet-test-{RUN_ID}-score-{role}",
                output_uri=f"{ARTIFACTS}/runs/traffic/{RUN_ID}/scores/{role}/",
            )
            for role, model in roles.items()
        ),
    )


def evaluation(promote: bool = True) -> Evaluation:
    """The gate's verdict."""
    return Evaluation(
        outcome="PROMOTE" if promote else "REFUSE",
        metric="forecast_accuracy",
        candidate=0.93,
        champion=0.91,
        naive=0.88,
        threshold=0.9,
        sentence="0.93 against 0.91.",
        finding=None if promote else FINDING,
        decision_uri=f"{ARTIFACTS}/runs/traffic/{RUN_ID}/decision.json",
    )


REPORT = WriteReportResult(report_uri=f"{ARTIFACTS}/reports/traffic/{RUN_ID}/report.html", size=81_000)
DEPLOYMENT = DeploymentResult(
    endpoint_name="ratchet-test-traffic",
    endpoint_config_name=f"ratchet-test-{RUN_ID}",
    seconds=212.5,
    started_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
)
TRIAL = DEPLOYMENT.model_copy(update={"endpoint_name": "ratchet-test-traffic-Trial"})
SHADOW = DEPLOYMENT.model_copy(update={"endpoint_config_name": f"ratchet-test-{RUN_ID}-Twin"})
HEALTHY = VariantHealth(requests=900, errors_4xx=0, errors_5xx=0, latency_p99_ms=31.0)
COMPARISON = ShadowComparison(champion=HEALTHY, candidate=HEALTHY, seconds=300, sentence="Both are well.")
APPROVED = ApprovalAnswer(outcome=Decision.APPROVED, by="arn:aws:sts::123456789012:assumed-role/a/ada", reason="Good.")
REJECTED = APPROVED.model_copy(update={"outcome": Decision.REJECTED})
VERIFICATION = Verification(rows=20, largest_difference=0.0, latency_p50_ms=12.0, latency_max_ms=41.0)
ANNOUNCEMENT = Announcement(pipeline="traffic", subject="traffic: news", sentence="Something happened.")


def closed(outcome: RunOutcome) -> CloseRunResult:
    """How close_run answers."""
    kinds = {RunOutcome.DEPLOYED: "Model Deployed", RunOutcome.REFUSED: "Candidate Refused"}
    return CloseRunResult(outcome=outcome, kind=kinds.get(outcome, "Run Failed"), announcement=ANNOUNCEMENT)


LARGE = LargeUpload(
    execution_name=f"traffic-{'e' * 32}-1",
    event=json.loads((Path(__file__).parents[2] / "events/validate_large/ok.json").read_text()),
)


def verdict(outcome: VerdictOutcome) -> ValidateDataResult:
    """How validate_data answers."""
    if outcome is VerdictOutcome.LARGE:
        return ValidateDataResult(outcome=outcome, pipeline="traffic", large=LARGE, announcement=ANNOUNCEMENT)
    return ValidateDataResult(
        outcome=outcome,
        pipeline="traffic",
        upload_id=sha("e"),
        verdict_id=sha("f"),
        rows=744,
        finding=FINDING if outcome is VerdictOutcome.REJECTED else None,
        announcement=ANNOUNCEMENT,
    )


STARTED = StartRunResult(started=True, run_id=RUN_ID, because="The pipeline was behind and nobody owned it.")


def answered(result: BaseModel) -> dict[str, Any]:
    """What lambda:invoke answers when the function returns this."""
    return {"StatusCode": 200, "ExecutedVersion": "$LATEST", "Payload": result.model_dump(mode="json")}


TRAINED = {
    "TrainingJobName": f"ratchet-test-{RUN_ID}-c1-0",
    "TrainingJobStatus": "Completed",
    "ModelArtifacts": {"S3ModelArtifacts": f"{ARTIFACTS}/steps/traffic/train/{sha('1')}/job-0/output/model.tar.gz"},
}
SCORED = {"TransformJobName": f"ratchet-test-{RUN_ID}-score-candidate-0", "TransformJobStatus": "Completed"}
PREPROCESSED = {
    "Id": "jr_1",
    "JobRunState": "SUCCEEDED",
    "ExecutionTime": 71,
    "WorkerType": "G.1X",
    "NumberOfWorkers": 2,
}
PUT = {"Entries": [{"EventId": "1"}], "FailedEntryCount": 0}
KEPT = {"MessageId": "1"}
EXECUTION_STARTED = {"ExecutionArn": "arn:aws:states:us-east-1:123456789012:execution:machine:1", "StartDate": 1.7e9}
