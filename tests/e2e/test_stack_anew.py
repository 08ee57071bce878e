"""A stack deleted and made anew, under the same name and stage, beside all that the old one left."""

from pathlib import Path

import pytest

from cli.deploy import build, deploy_to
from cli.stack import LOCAL_STACK, Stack
from local.cloud.process import Cloud, CloudSettings, free_port
from ratchet.contracts.run import RunOutcome
from tests.e2e.once import Tiny, files


def first_model(stack: Stack, folder: Path) -> str:
    """Applies the same pipeline, uploads the same file; the ARN of the model package that comes of it."""
    tiny = Tiny("tiny", stack, folder)
    tiny.apply()
    tiny.put(files([1]))
    tiny.await_objects(1)
    run = tiny.last()
    assert (run.run_id, run.outcome) == ("tiny-g1", RunOutcome.DEPLOYED), run.finding
    champion = stack.pipeline("tiny").champion
    assert champion
    assert champion.model_package_arn
    return champion.model_package_arn


@pytest.mark.slow
def test_a_stack_made_anew_meets_nothing_of_the_old_one(tmp_path: Path) -> None:
    cloud = Cloud(CloudSettings(port=free_port(), state=tmp_path / "cloud"))
    build()
    cloud.up()
    try:
        deploy_to(cloud, LOCAL_STACK)
        old = Stack.of_cloud(cloud)
        old_model = first_model(old, tmp_path)
        formation = cloud.client("cloudformation")
        formation.delete_stack(StackName=LOCAL_STACK)
        formation.get_waiter("stack_delete_complete").wait(StackName=LOCAL_STACK, WaiterConfig={"Delay": 1})

        deploy_to(cloud, LOCAL_STACK)
        new = Stack.of_cloud(cloud)
        new_model = first_model(new, tmp_path)
        assert new_model != old_model
        sagemaker = cloud.client("sagemaker")
        assert sagemaker.describe_model_package(ModelPackageName=old_model)["ModelPackageArn"] == old_model
        jobs = {job["TrainingJobName"] for job in sagemaker.list_training_jobs()["TrainingJobSummaries"]}
        assert len(jobs) == 2
        assert new.endpoint_name("tiny") != old.endpoint_name("tiny")
    finally:
        cloud.down()
