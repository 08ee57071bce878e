"""What seldom happens, and needs grants that nothing else needs: lost events and endpoints, a file for a sleeper."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.stack import Stack
from local.cloud.chaos import Chaos, disturbed
from local.cloud.faults import Fault, Kind, injected, strikes
from local.cloud.process import Cloud
from ratchet.contracts.run import Champion, RunOutcome
from ratchet.domain.settling import remove
from tests.e2e.once import Tiny, await_state, files, reconcile, until

pytestmark = pytest.mark.permissions


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


def test_reconcile_takes_back_an_endpoint_that_another_configuration_serves(stack: Stack, tmp_path: Path) -> None:
    tiny = Tiny("usurped", stack, tmp_path)
    tiny.apply("deploy.mode=instance")
    tiny.put(files([1]))
    assert tiny.await_end(1).outcome is RunOutcome.DEPLOYED
    tiny.settled()
    champion, sagemaker = champion_of(tiny), stack.session.client("sagemaker")
    known = sagemaker.describe_endpoint_config(EndpointConfigName=champion.endpoint_config_name)
    other = f"{champion.endpoint_config_name}-other"
    sagemaker.create_endpoint_config(EndpointConfigName=other, ProductionVariants=known["ProductionVariants"])
    sagemaker.update_endpoint(EndpointName=champion.endpoint_name, EndpointConfigName=other)
    until(lambda: tiny.serving_config == other or None)
    until(lambda: (reconcile(stack) and tiny.serving_config == champion.endpoint_config_name) or None)


# Reading or writing takes so long that the job is still at work when it is found.
@pytest.mark.parametrize(
    ("role", "call", "place"),
    [
        ("GlueRole", "s3:PutObject", "/steps/left-preprocess/preprocess/"),
        ("TrainingRole", "s3:GetObject", "/steps/left-train/preprocess/"),
        ("TrainingRole", "s3:PutObject", "/runs/left-score/"),
    ],
)
def test_reconcile_stops_what_a_dead_run_left(
    role: str, call: str, place: str, stack: Stack, cloud: Cloud, tmp_path: Path
) -> None:
    tiny = Tiny(place.split("/")[2], stack, tmp_path)
    tiny.apply("retrain.retry_after=[1s]")
    slow = Fault(name=place, kind=Kind.SLOW, call=call, caller=role, contains=(place,), seconds=20)
    with disturbed(cloud.settings, Chaos(abandons=True, dropped=("aws.states",))), injected(cloud.settings, slow):
        tiny.put(files([1]))
        run = tiny.await_run(1)
        until(lambda: strikes(cloud.settings, slow.name) or None)
        stack.executions.stop_execution(executionArn=run.execution_arn)
        until(lambda: reconcile(stack, run) and stack.ledger.run(tiny.name, run.run_id).outcome)  # type: ignore[union-attr]
    jobs = tiny.jobs()
    assert {"STOPPED", "STOPPING", "Stopped", "Stopping"} & {*jobs.preprocess, *jobs.training, *jobs.transform}, jobs
    assert tiny.await_end(2).outcome is RunOutcome.DEPLOYED
