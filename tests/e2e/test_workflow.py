"""From an upload to a served model, and every other way it can go, through the deployed stack."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

from cli import samples
from cli.history import timeline
from cli.listen import Listener
from cli.predict import ask
from cli.stack import Stack
from cli.watch import ended_timeline
from ratchet.contracts.base import Finding
from ratchet.contracts.run import RunOutcome
from ratchet.domain.ledger import Verdict
from tests.e2e.conftest import VERDICT_TIMEOUT, Pipeline, shown

HOUR = {"datetime": "2017-02-03T08:00:00", "clouds_all": 40, "rain_1h": 0, "snow_1h": 0, "temp": 271.4}
MOST_TRANSITIONS = 20


def answers(finding: Finding) -> tuple[str, ...]:
    return finding.what, finding.where, finding.why, finding.fix


def test_an_upload_becomes_a_served_model(
    served: Pipeline, people: Listener, ratchet: Callable[..., Result], stack: Stack
) -> None:
    run = served.settled()[0]
    assert run.evaluation
    assert run.verification
    assert run.verification.rows > 0
    assert run.outcome is RunOutcome.DEPLOYED
    assert served.champion is not None

    told = people.hear(run.run_id, "model deployed")
    assert told
    predicted = json.loads(ratchet("predict", served.name, "--json", json.dumps(HOUR)).stdout)
    assert predicted["prediction"] > 0

    printed = json.loads(ratchet("show", run.run_id, "--json").stdout)
    assert printed["run"]["outcome"] == "DEPLOYED"
    assert printed["decision"]["outcome"] == "PROMOTE"
    states = [state.name for state in ended_timeline(stack, run).states]
    assert states[-1] == "Model Deployed"
    assert len(states) <= MOST_TRANSITIONS
    assert {state["name"] for state in printed["states"]} <= set(states)


def test_what_sagemaker_holds_is_named_tagged_and_registered(served: Pipeline, stack: Stack) -> None:
    sagemaker = stack.session.client("sagemaker")
    champion = stack.pipeline(served.name).champion
    assert champion
    endpoint = sagemaker.describe_endpoint(EndpointName=stack.endpoint_name(served.name))
    assert endpoint["EndpointStatus"] == "InService"
    assert endpoint["EndpointConfigName"] == champion.endpoint_config_name
    tags = {tag["Key"]: tag["Value"] for tag in sagemaker.list_tags(ResourceArn=endpoint["EndpointArn"])["Tags"]}
    assert tags["ratchet:pipeline"] == served.name
    assert champion.model_package_arn
    package = sagemaker.describe_model_package(ModelPackageName=champion.model_package_arn)
    containers = package["InferenceSpecification"]["Containers"]
    assert containers[0]["ModelDataUrl"] == champion.model_uri


def test_the_same_bytes_run_nothing(served: Pipeline, stack: Stack) -> None:
    runs = len(served.settled())
    done = stack.pipeline(served.name)
    (verdict,) = served.upload(served.file("again.csv", samples.traffic_months()["2016-10"]))
    assert verdict.outcome == "ACCEPTED"
    assert len(served.settled()) == runs
    assert stack.pipeline(served.name).work_seq == done.work_seq
    executions = stack.executions.list_executions(stateMachineArn=stack.outputs.ingest_state_machine_arn)
    newest = max(executions["executions"], key=lambda execution: execution["startDate"])
    states = [state.name for state in timeline(stack.executions, newest["executionArn"]).states]
    assert states == ["Validate Data", "What Is The Verdict?", "Already Known"]


def test_a_broken_file_is_rejected_with_its_line(
    served: Pipeline, people: Listener, ratchet: Callable[..., Result], stack: Stack
) -> None:
    runs = len(served.settled())
    broken = served.file("broken.csv", samples.broken_traffic_month(samples.traffic_months()["2017-03"], 100))
    ended = ratchet("upload", broken, "--pipeline", served.name, "--wait")
    assert ended.exit_code == 1
    verdict = next(v for v in stack.ledger.verdicts(served.name) if v.outcome == "REJECTED")
    assert verdict.finding
    assert "line 100" in " ".join(answers(verdict.finding))
    assert shown(["REJECTED", *answers(verdict.finding)], ended.stdout)
    assert people.hear("broken.csv", *answers(verdict.finding))
    assert len(served.settled()) == runs


def test_a_refusal_says_why_to_everyone(
    new_pipeline: Callable[[str], Pipeline], people: Listener, ratchet: Callable[..., Result], stack: Stack
) -> None:
    pipeline = new_pipeline("refused")
    pipeline.apply("gate.threshold=0.999")
    pipeline.upload_months("2016-10", "2016-11", "2016-12")
    run = pipeline.last()
    assert run.outcome is RunOutcome.REFUSED
    assert run.finding
    assert run.evaluation
    assert run.evaluation.candidate < 0.999
    assert pipeline.champion is None
    assert shown(["REFUSED", *answers(run.finding)], ratchet("show", run.run_id).stdout)
    assert people.hear(run.run_id, *answers(run.finding))
    assert ended_timeline(stack, run).states[-1].name == "Candidate Refused"


def test_a_failed_training_leaves_the_champion_serving(
    served: Pipeline, people: Listener, ratchet: Callable[..., Result], stack: Stack
) -> None:
    before = served.champion
    applied = served.apply("train.hyperparameters.booster=nonsense")
    assert applied.run
    assert applied.run.started
    run = served.last()
    assert run.run_id == applied.run.run_id
    assert run.outcome is RunOutcome.FAILED
    assert run.finding
    assert "booster" in run.finding.why.lower()
    assert people.hear(run.run_id, "run failed", *answers(run.finding))
    assert shown(["FAILED", *answers(run.finding)], ratchet("show", run.run_id).stdout)
    assert ended_timeline(stack, run).status == "FAILED"
    assert served.champion == before
    assert json.loads(ratchet("predict", served.name, "--json", json.dumps([HOUR])).stdout)[0]["prediction"] > 0
    restored = served.apply()
    assert restored.changed
    assert served.champion == before


def test_a_corrected_contract_judges_the_same_file_anew(new_pipeline: Callable[[str], Pipeline], stack: Stack) -> None:
    pipeline = new_pipeline("corrected")
    pipeline.apply("data.columns.temp.max=260")
    rejected, _ = pipeline.upload_months("2017-02", "2017-03")
    assert rejected.outcome == "REJECTED"
    assert rejected.finding
    assert "temp" in rejected.finding.where
    applied = pipeline.apply("gate.threshold=0.999")
    assert applied.judged_anew
    judged = await_verdicts(stack, pipeline)
    assert (rejected.upload_id, "ACCEPTED") in {(verdict.upload_id, verdict.outcome) for verdict in judged}
    run = pipeline.last()
    assert run.outcome is RunOutcome.REFUSED
    assert run.plan
    assert run.plan.uploads == 2


def await_verdicts(stack: Stack, pipeline: Pipeline) -> list[Verdict]:
    """The verdicts under the present contract, once every upload has one."""
    state = stack.pipeline(pipeline.name)
    assert state.definition
    deadline = time.monotonic() + VERDICT_TIMEOUT
    while True:
        found = [v for v in stack.ledger.verdicts(pipeline.name) if v.data_hash == state.definition.data_hash]
        if len(found) == len(stack.ledger.objects(pipeline.name)):
            return found
        assert time.monotonic() < deadline, f"only {len(found)} uploads were judged anew"
        time.sleep(stack.poll_seconds)


def test_another_data_set_needs_a_definition_only(new_pipeline: Callable[[str], Pipeline], stack: Stack) -> None:
    pipeline = new_pipeline("late")
    pipeline.apply("gate.threshold=0.1", sample="late-arrivals")
    month = samples.late_arrivals_parts()["2013-01"]
    (verdict,) = pipeline.upload(pipeline.file("2013-01.csv", month))
    assert verdict.outcome == "ACCEPTED"
    run = pipeline.last()
    assert run.outcome is RunOutcome.DEPLOYED, run.finding
    answer = ask_first_row(stack, pipeline, month)
    assert set(answer["probabilities"]) == {"true", "false"}
    assert answer["prediction"] in answer["probabilities"]
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-6)


def ask_first_row(stack: Stack, pipeline: Pipeline, month: bytes) -> Any:
    header, first, *_ = month.decode().splitlines()
    row = dict(zip(header.split(","), first.split(","), strict=True))
    record = {name: value or None for name, value in row.items() if name != "late"}
    return ask(stack, pipeline.name, record)


def test_reads_of_the_command_agree_with_the_ledger(served: Pipeline, ratchet: Callable[..., Result]) -> None:
    listed = json.loads(ratchet("runs", served.name, "--json").stdout)
    assert [run["run_id"] for run in listed] == [run.run_id for run in served.settled()]
    status = json.loads(ratchet("status", "--json").stdout)
    assert served.name in {state["pipeline"] for state in status["pipelines"]}
