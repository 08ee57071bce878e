"""Every doorway, with its use case over fakes: the event goes in as it comes, and JSON comes out."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ratchet.domain.errors import EventInvalidError, SettingsMissingError
from ratchet.domain.notifying import Notify
from ratchet.domain.planning import CheckIdempotency
from tests.unit.fakes import FakeTopic
from tests.unit.lambda_context import Context
from tests.unit.world import ENDPOINT, World

ROOT = Path(__file__).parents[3]
FUNCTIONS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/app.py"))
SETTINGS = {
    "LEDGER_TABLE_NAME": "ledger",
    "DATA_BUCKET_NAME": "data",
    "ARTIFACTS_BUCKET_NAME": "artifacts",
    "RESOURCE_PREFIX": "ratchet-dev",
    "LARGE_UPLOAD_BYTES": "1000",
    "VALIDATE_LARGE_STATE_MACHINE_ARN": "arn:aws:states:eu-west-1:123456789012:stateMachine:ratchet-dev-validate-large",
    "STAGE": "dev",
    "EVENT_BUS_NAME": "bus",
    "PREPROCESS_JOB_NAME": "preprocess",
    "SCHEDULE_GROUP_NAME": "ratchet-dev",
    "SCHEDULER_ROLE_ARN": "arn:aws:iam::123456789012:role/scheduler",
    "SCHEDULER_DEAD_LETTER_QUEUE_ARN": "arn:aws:sqs:eu-west-1:123456789012:scheduler-dlq",
    "START_RUN_FUNCTION_ARN": "arn:aws:lambda:eu-west-1:123456789012:function:start-run",
    "TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:topic",
    "RETRAIN_STATE_MACHINE_ARN": "arn:aws:states:eu-west-1:123456789012:stateMachine:retrain",
    "INGEST_STATE_MACHINE_ARN": "arn:aws:states:eu-west-1:123456789012:stateMachine:ingest",
    "SCORE_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/score",
    "SCORE_DEAD_LETTER_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/score-dlq",
    "MAX_RECEIVES": "5",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
}


def load(function: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"functions_{function}", ROOT / "functions" / function / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def event(function: str, case: str) -> Any:
    return json.loads((ROOT / "events" / function / f"{case}.json").read_text())


def call(function: str, case: str, use_case: object) -> Any:
    result = load(function).handler(event(function, case), Context(), use_case=use_case)
    assert json.loads(json.dumps(result)) == result
    return result


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_builds_from_its_own_settings(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    assert load(function).build() is not None


@pytest.mark.parametrize("function", [name for name in FUNCTIONS if name != "verify_endpoint"])
def test_a_function_without_its_settings_fails_its_cold_start(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", function)
    with pytest.raises(SettingsMissingError, match=r"set [A-Z_, ]+ in the function's environment"):
        load(function)


def test_start_run(world: World) -> None:
    first = call("start_run", "upload", world.start_run)
    assert (first["started"], first["run_id"]) == (True, "traffic-g1")
    assert call("start_run", "schedule", world.start_run)["started"] is False


def test_start_run_by_an_event_of_the_bus(world: World) -> None:
    assert call("start_run", "run_requested", world.start_run)["started"] is True
    assert world.ledger.runs("traffic")[0].reason == "event"


def test_check_idempotency(world: World) -> None:
    world.start()
    assert isinstance(world.check_idempotency, CheckIdempotency)
    plan = call("check_idempotency", "new_work", world.check_idempotency)
    assert (plan["outcome"], plan["uploads"]) == ("NEW_WORK", 1)


def test_resume_deployment(world: World) -> None:
    run, _, selection, _ = world.judged()
    world.deploy(run, selection)
    call("resume_deployment", "updating", world.resume_deployment)
    assert world.workflow.answers == []
    world.endpoints.finish(ENDPOINT)
    for _ in range(2):
        load("resume_deployment").handler(
            {"detail": {"EndpointName": ENDPOINT, "EndpointStatus": "IN_SERVICE"}},
            Context(),
            use_case=world.resume_deployment,
        )
    assert [token for token, _ in world.workflow.answers] == ["token-1"]


@pytest.mark.parametrize(("case", "started"), [("schedule", 1), ("by_hand", 1), ("execution_failed", 1)])
def test_reconcile(world: World, case: str, started: int) -> None:
    report = call("reconcile", case, world.reconcile)
    assert (report["pipelines"], len(report["started"])) == (1, started)


@pytest.mark.parametrize(
    "case", ["model_deployed", "candidate_refused", "run_failed", "data_rejected_hostile_value", "alarm"]
)
def test_notify(case: str) -> None:
    topic = FakeTopic()
    result = call("notify", case, Notify(topic, "dev"))
    assert topic.published[0][0] == result["subject"]


@pytest.mark.parametrize("case", ["after_evaluation", "model_deployed"])
def test_write_report(world: World, case: str) -> None:
    run, _, _, _ = world.judged()
    result = call("write_report", case, world.write_report)
    assert result["report_uri"].endswith(f"/reports/traffic/{run.run_id}/report.html")
    assert len(world.store.read(result["report_uri"])) == result["size"]


@pytest.mark.parametrize(
    ("function", "case"),
    [
        (path.parent.name, path.stem)
        for path in sorted((ROOT / "events").glob("*/invalid_*.json"))
        if path.parent.name in FUNCTIONS
    ],
)
def test_an_invalid_event_is_refused_by_name_before_anything_is_built(function: str, case: str) -> None:
    with pytest.raises(EventInvalidError):
        load(function).handler(event(function, case), Context())
