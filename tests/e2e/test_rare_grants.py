"""What seldom happens, and needs grants that nothing else needs: lost events, lost endpoints, a file for a sleeper."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.stack import Stack
from local.cloud.chaos import Chaos, disturbed
from local.cloud.process import Cloud
from ratchet.contracts.run import Champion, RunOutcome
from ratchet.domain.settling import remove
from tests.e2e.once import Tiny, await_state, files, points, reconcile, until

pytestmark = pytest.mark.permissions
MANY = 50_000  # rows


def champion_of(tiny: Tiny) -> Champion:
    """The champion of a settled pipeline."""
    champion = tiny.stack.pipeline(tiny.name).champion
    assert champion is not None
    return champion


def gone(tiny: Tiny) -> str:
    """Deletes the champion's endpoint; its name, once it is gone."""
    name = champion_of(tiny).endpoint_name
    remove(tiny.stack.endpoints, name)
    until(lambda: True if tiny.stack.endpoints.describe(name) is None else None)
    return name


def test_reconcile_answers_for_a_lost_event_and_puts_a_lost_champion_back(
    stack: Stack, cloud: Cloud, tmp_path: Path
) -> None:
    tiny = Tiny("unheard", stack, tmp_path)
    tiny.apply("deploy.mode=instance")
    with disturbed(cloud.settings, Chaos(dropped=("aws.sagemaker",))):
        tiny.put(files([1]))
        await_state(stack, tiny.await_run(1).execution_arn, "Deploy Endpoint")
        until(lambda: reconcile(stack) and tiny.stack.ledger.run(tiny.name, "unheard-g1").outcome)  # type: ignore[union-attr]
    assert tiny.await_end(1).outcome is RunOutcome.DEPLOYED
    tiny.settled()
    name = gone(tiny)
    until(lambda: reconcile(stack) and stack.endpoints.describe(name))
    until(lambda: tiny.serving_config)
    assert tiny.serving_config == champion_of(tiny).endpoint_config_name


def test_a_file_wakes_an_endpoint_that_sleeps(stack: Stack, tmp_path: Path) -> None:
    tiny = Tiny("dozing", stack, tmp_path)
    tiny.apply("deploy.mode=instance", "deploy.verify=before")  # on a trial endpoint, which the workflow removes
    tiny.put(files([1]))
    assert tiny.await_end(1).outcome is RunOutcome.DEPLOYED
    tiny.settled()
    assert stack.ledger.put_to_sleep(tiny.name, champion_of(tiny).model_name, datetime.now(UTC))
    gone(tiny)
    bucket, key = stack.outputs.data_bucket_name, f"score/{tiny.name}/points.csv"
    stack.s3.put_object(Bucket=bucket, Key=key, Body=b"id,x\n1,1.5\n")
    listed = until(lambda: stack.s3.list_objects_v2(Bucket=bucket, Prefix=f"scored/{tiny.name}/").get("Contents"))
    assert [found["Key"] for found in listed] == [key.replace("score/", "scored/", 1)]
    assert stack.pipeline(tiny.name).asleep_since is None


@pytest.mark.parametrize("state", ["Preprocess Data", "Train Candidates"])
def test_reconcile_stops_what_a_dead_run_left(state: str, stack: Stack, cloud: Cloud, tmp_path: Path) -> None:
    tiny = Tiny(f"left-{state.split(maxsplit=1)[0].lower()}", stack, tmp_path)
    # Jobs so long that they are still at work when they are found.
    tiny.apply("retrain.retry_after=[1s]", "train.hyperparameters.num_round=400")
    with disturbed(cloud.settings, Chaos(abandons=True, dropped=("aws.states",))):
        tiny.put([("many.csv", points(1, MANY))])
        run = tiny.await_run(1)
        await_state(stack, run.execution_arn, state)
        until(lambda: tiny.jobs().running or None)
        stack.executions.stop_execution(executionArn=run.execution_arn)
        until(lambda: run.run_id in reconcile(stack).get("closed", ()) or None)
    jobs = tiny.jobs()
    assert "STOPPED" in jobs.preprocess if state == "Preprocess Data" else "Stopped" in jobs.training, jobs
    assert tiny.await_end(2).outcome is RunOutcome.DEPLOYED
