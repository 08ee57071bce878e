"""Uploads over the limit of the function: a job of the workflow validate_large judges them, by the same code."""

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from typer.testing import Result

from cli.listen import Listener
from cli.stack import Stack
from local.cloud.faults import Fault, Kind, injected
from local.cloud.process import Cloud
from ratchet.contracts.run import RunOutcome
from ratchet.domain.ledger import LargeValidation
from tests.e2e.conftest import physical_id, received
from tests.e2e.once import Tiny, points, reconcile, until

LIMIT = 500  # bytes; a file of `points` has more, and packed it has fewer


@contextmanager
def limited(stack: Stack, limit: int) -> Iterator[None]:
    """LargeUploadBytes as if the stack had been deployed so."""
    name = physical_id(stack, "ValidateDataFunction")
    variables = stack.functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    lowered = {**variables, "LARGE_UPLOAD_BYTES": str(limit)}
    stack.functions.update_function_configuration(FunctionName=name, Environment={"Variables": lowered})
    try:
        yield
    finally:
        stack.functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})


@pytest.fixture(scope="module")
def small(stack: Stack) -> Iterator[Stack]:
    """The stack with so low a limit that everything is large."""
    with limited(stack, LIMIT):
        yield stack


@pytest.fixture
def new_tiny(small: Stack, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Tiny]:
    return lambda name: Tiny(name, small, tmp_path_factory.mktemp(name))


def put(stack: Stack, tiny: Tiny, name: str, content: bytes) -> None:
    stack.s3.put_object(Bucket=stack.outputs.data_bucket_name, Key=f"incoming/{tiny.name}/{name}", Body=content)


def executions(stack: Stack, pipeline: str) -> list[tuple[str, str]]:
    """(name, status) of the pipeline's executions of validate_large, oldest first."""
    arn = physical_id(stack, "ValidateLargeStateMachine")
    found = stack.executions.list_executions(stateMachineArn=arn)["executions"]
    own = [one for one in found if one["name"].startswith(f"{pipeline}-")]
    return [(one["name"], one["status"]) for one in sorted(own, key=lambda one: one["startDate"])]


def job_runs(stack: Stack) -> list[dict[str, Any]]:
    name = physical_id(stack, "ValidateLargeJob")
    runs: list[dict[str, Any]] = stack.session.client("glue").get_job_runs(JobName=name)["JobRuns"]  # type: ignore[assignment]
    return runs


def one_large(stack: Stack, pipeline: str) -> LargeValidation | None:
    larges = stack.ledger.larges(pipeline)
    return larges[0] if larges else None


@pytest.mark.timeout(900)  # the first one has the cloud made
def test_a_large_upload_is_judged_by_a_job_quarantined_rows_too_and_trained(
    new_tiny: Callable[[str], Tiny], small: Stack, ratchet: Callable[..., Result]
) -> None:
    tiny = new_tiny("large")
    tiny.apply("data.max_bad_rows=0.2")
    before = len(job_runs(small))
    put(small, tiny, "big.csv", points(1) + b"oops,1,2\n")
    until(lambda: small.ledger.verdicts(tiny.name) or None, 240)
    run = tiny.last()
    assert run.outcome is RunOutcome.DEPLOYED, run.finding
    (verdict,) = small.ledger.verdicts(tiny.name)
    assert (verdict.outcome, verdict.rows, verdict.bad_rows) == ("ACCEPTED", 41, 1)
    assert verdict.quarantine_uri
    assert verdict.quarantine_uri.startswith(f"s3://{small.outputs.data_bucket_name}/quarantine/{tiny.name}/")
    assert [status for _, status in executions(small, tiny.name)] == ["SUCCEEDED"]
    assert [run["JobRunState"] for run in job_runs(small)[: len(job_runs(small)) - before]] == ["SUCCEEDED"]
    assert ratchet("audit", tiny.name).exit_code == 0


def test_a_bad_large_upload_is_rejected_with_its_report_and_people_are_told(
    new_tiny: Callable[[str], Tiny], small: Stack, people: Listener
) -> None:
    tiny = new_tiny("largebad")
    tiny.apply()
    put(small, tiny, "bad.csv", points(2).replace(b"\n85,", b"\neighty-five,"))
    tiny.await_objects(1)
    (verdict,) = until(lambda: small.ledger.verdicts(tiny.name) or None)
    assert verdict.outcome == "REJECTED"
    assert small.ledger.runs(tiny.name) == []
    assert verdict.finding
    assert "line 7" in verdict.finding.where
    assert small.store.read_json(verdict.report_uri or "")["judgement"]["examples"][0]["line"] == 7
    assert people.hear("bad.csv", verdict.finding.what, verdict.finding.where)


@pytest.mark.slow
@pytest.mark.permissions
def test_a_small_file_that_holds_much_and_an_event_that_comes_twice(
    new_tiny: Callable[[str], Tiny], small: Stack
) -> None:
    tiny = new_tiny("largepacked")
    tiny.apply()
    packed = gzip.compress(b"id,x,y\n" + b"".join(b"%d,1,2\n" % number for number in range(300)))
    with limited(small, len(packed) + 1):
        put(small, tiny, "packed.csv.gz", packed)
        large = until(lambda: one_large(small, tiny.name))
        assert not [uri for uri in reconcile(small).get("ingested", ()) if tiny.name in uri], "it is being judged"
        event = json.loads(
            until(lambda: input_of(small, large.execution_arn)),
        )
        for source in ("aws.s3", "ratchet.reconcile"):  # while the job runs, and told in other words
            again = {**event, "source": source, "id": source}
            small.executions.start_execution(
                stateMachineArn=small.outputs.ingest_state_machine_arn, input=json.dumps(again)
            )
        (verdict,) = until(lambda: small.ledger.verdicts(tiny.name) or None, 120)
        tiny.settled()
    assert [status for _, status in executions(small, tiny.name)] == ["SUCCEEDED"]
    assert (verdict.outcome, verdict.rows) == ("ACCEPTED", 300)


@pytest.mark.slow
@pytest.mark.permissions
def test_a_large_upload_whose_validation_fails_to_the_last_is_kept(
    new_tiny: Callable[[str], Tiny], small: Stack, cloud: Cloud
) -> None:
    tiny = new_tiny("largekept")
    tiny.apply()
    unanswered = Fault(
        name="no answer",
        kind=Kind.TIMEOUT,
        call="glue:StartJobRun",
        state="Validate Large Data",
        contains=(tiny.name,),
    )
    with injected(cloud.settings, unanswered):
        put(small, tiny, "kept.csv", points(3))
        until(lambda: [status for _, status in executions(small, tiny.name)] == ["FAILED"] or None)
    kept = [message["body"] for message in received(small, small.outputs.ingest_dead_letter_queue_url)]
    assert f"incoming/{tiny.name}/kept.csv" in [event["detail"]["object"]["key"] for event in kept]


def input_of(stack: Stack, execution_arn: str) -> str | None:
    try:
        return stack.executions.describe_execution(executionArn=execution_arn).get("input")
    except stack.executions.exceptions.ExecutionDoesNotExist:
        return None
