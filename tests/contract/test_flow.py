"""State N's result feeds state N+1: the payloads of the real retrain machine, the real doorways, fakes behind them."""

import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ratchet.contracts.closing import CloseRunResult
from ratchet.contracts.run import Announcement, RunPlan, Selection, TaskError, TrainingResult
from ratchet.domain.identity import report_uri
from ratchet.domain.selection import VALIDATION_METRIC
from tests.unit import samples
from tests.unit.lambda_context import Context
from tests.unit.world import ENDPOINT, World

ROOT = Path(__file__).parents[2]
MACHINE = json.loads((ROOT / "statemachine/retrain.asl.json").read_text())
TRAINING_JOB = MACHINE["States"]["Train Candidates"]["ItemProcessor"]["States"]["Train Candidate"]
MODEL_PACKAGE = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/ratchet-dev/1"


@cache
def handler(function: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"flow_{function}", ROOT / "functions" / function / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.handler


def at(path: str, data: Any, context: dict[str, str]) -> Any:
    """A reference path such as `$.plan.train` or `$$.Execution.Id`; one that was never written is a KeyError."""
    if path.startswith("$$."):
        return context[path[3:]]
    for name in path.removeprefix("$").strip(".").split("."):
        data = data[name] if name else data
    return data


def filled(template: Any, data: Any, context: dict[str, str]) -> Any:
    """A payload template: `name.$` takes the path's value, the rest stands as it is."""
    if not isinstance(template, dict):
        return template
    return {
        key.removesuffix(".$"): at(value, data, context) if key.endswith(".$") else filled(value, data, context)
        for key, value in template.items()
    }


class Execution:
    """One execution's data, with the states it went through."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.run = world.start()
        self.data: dict[str, Any] = json.loads(json.dumps({"run": self.run.model_dump()}))
        self.context = {"Execution.Id": world.arn(self.run), "Task.Token": "token"}

    def call(self, state: str, function: str, use_case: object) -> Any:
        """Runs one Lambda task as the machine writes it down."""
        task = MACHINE["States"][state]
        substitution = "".join(part.title() for part in function.split("_"))
        assert task["Parameters"]["FunctionName"] == f"${{{substitution}FunctionArn}}"
        payload = filled(task["Parameters"]["Payload"], self.data, self.context)
        answer = handler(function)(json.loads(json.dumps(payload)), Context(), use_case=use_case)
        result: Any = {"Payload": json.loads(json.dumps(answer))}
        if "ResultSelector" in task:
            result = filled(task["ResultSelector"], result, self.context)
        return self.write(task, result)

    def write(self, task: dict[str, Any], result: Any) -> Any:
        if task["ResultPath"] is not None:
            self.data[task["ResultPath"].removeprefix("$.")] = result
        return result

    def until_evaluation(self, candidate: float) -> None:
        world = self.world
        self.call("Check Idempotency", "check_idempotency", world.check_idempotency)
        plan = RunPlan.model_validate(self.data["plan"])
        world.preprocess(plan, until="2026-01-31T23:00:00")
        self.write(MACHINE["States"]["Train Candidates"], [self.trained(r) for r in world.train(plan)])
        self.call("Select Candidate", "select_candidate", world.select_candidate)
        world.score(Selection.model_validate(self.data["selection"]), candidate)
        self.call("Evaluate Model", "evaluate_model", world.evaluate_model)
        self.call("Write Report", "write_report", world.write_report)

    def trained(self, result: TrainingResult) -> Any:
        """What the state keeps of DescribeTrainingJob."""
        description = {"TrainingJobName": result.training_job_name}
        return filled(TRAINING_JOB["ResultSelector"], description, self.context)

    def until_verification(self) -> None:
        world = self.world
        self.write(MACHINE["States"]["Register Model"], {"arn": MODEL_PACKAGE})
        self.call("Deploy Endpoint", "deploy_endpoint", world.deploy_endpoint)
        world.endpoints.finish(ENDPOINT)
        world.resume_deployment(ENDPOINT)
        _, deployment = world.workflow.answers[-1]
        self.write(MACHINE["States"]["Deploy Endpoint"], json.loads(deployment.model_dump_json()))
        world.answer_like(Selection.model_validate(self.data["selection"]))
        self.call("Verify Endpoint", "verify_endpoint", world.verify_endpoint)

    def close(self, state: str) -> CloseRunResult:
        return CloseRunResult.model_validate(self.call(state, "close_run", self.world.close_run))


def announced(execution: Execution, state: str) -> Announcement:
    """What the Announce state puts on the bus, as notify parses it."""
    (entry,) = MACHINE["States"][state]["Parameters"]["Entries"]
    return Announcement.model_validate(filled(entry, execution.data, execution.context)["Detail"])


def test_the_metric_has_one_name() -> None:
    definitions = TRAINING_JOB["Parameters"]["AlgorithmSpecification"]["MetricDefinitions"]
    assert [metric["Name"] for metric in definitions] == [VALIDATION_METRIC]


def test_success(world: World) -> None:
    execution = Execution(world)
    execution.until_evaluation(candidate=0.05)
    assert execution.data["evaluation"]["outcome"] == "PROMOTE"
    execution.until_verification()
    result = execution.close("Promote Champion")
    assert result.outcome == "DEPLOYED"
    assert announced(execution, "Announce Deployment") == result.announcement
    state = world.ledger.pipeline("traffic")
    assert state is not None
    assert state.champion is not None
    assert state.champion.model_package_arn == MODEL_PACKAGE
    record = world.ledger.run("traffic", "traffic-g1")
    assert record is not None
    assert record.verification is not None
    assert record.verification.rows == 20
    assert world.store.exists(report_uri(samples.ARTIFACTS, "traffic", "traffic-g1"))


def test_success_over_a_champion_then_refusal(world: World) -> None:
    for candidate, state in ((0.10, "Promote Champion"), (0.05, "Promote Champion"), (0.30, "Close Refused Run")):
        execution = Execution(world)
        execution.until_evaluation(candidate)
        if state == "Promote Champion":
            execution.until_verification()
        execution.close(state)
        world.accept()
    announcement = announced(execution, "Announce Refusal")
    assert announcement.finding is not None
    assert all(announcement.finding.model_dump().values())
    pipeline = world.ledger.pipeline("traffic")
    assert pipeline is not None
    assert pipeline.champion is not None
    assert pipeline.champion.run_id == "traffic-g2"


def test_nothing_to_do() -> None:
    world = World()
    world.apply()
    execution = Execution(world)
    plan = execution.call("Check Idempotency", "check_idempotency", world.check_idempotency)
    assert plan["outcome"] == "NOTHING_TO_DO"
    assert set(plan) == set(RunPlan.model_fields)


FAILURES = {
    "Check Idempotency": TaskError(error="DependencyBusyError", cause='{"errorMessage": "Query: Rate exceeded"}'),
    "Train Candidates": TaskError(
        error="States.TaskFailed", cause='{"TrainingJobName": "j", "FailureReason": "exit 1"}'
    ),
    "Preprocess Data": TaskError(error="States.Timeout", cause=""),
    "Evaluate Model": TaskError(error="ScoringIncompleteError", cause='{"errorMessage": "row 7"}'),
    "Deploy Endpoint": TaskError(error="EndpointRolledBackError", cause="not healthy"),
    "Verify Endpoint": TaskError(error="PredictionMismatchError", cause='{"errorMessage": "row 7"}'),
}


@pytest.mark.parametrize("state", FAILURES)
def test_every_caught_failure_can_be_closed_and_told(world: World, state: str) -> None:
    execution = Execution(world)
    if state not in ("Check Idempotency", "Preprocess Data", "Train Candidates"):
        execution.until_evaluation(candidate=0.05)
    caught = MACHINE["States"][state]["Catch"][0]
    assert (caught["ResultPath"], caught["Next"]) == ("$.error", "Close Failed Run")
    execution.data["error"] = {"Error": FAILURES[state].error, "Cause": FAILURES[state].cause}
    result = execution.close("Close Failed Run")
    assert result.outcome == "FAILED"
    announcement = announced(execution, "Announce Failure")
    assert announcement.finding is not None
    assert all(announcement.finding.model_dump().values())
    assert FAILURES[state].error in announcement.finding.what


def test_an_accepted_upload_starts_a_run_by_the_ingest_machines_payload(world: World) -> None:
    ingest = json.loads((ROOT / "statemachine/ingest.asl.json").read_text())
    payload = filled(ingest["States"]["Start Run"]["Parameters"]["Payload"], {"verdict": {"pipeline": "traffic"}}, {})
    result = handler("start_run")(payload, Context(), use_case=world.start_run)
    assert result["run_id"] == samples.run().run_id
