"""What AWS would refuse is said before anything is stored."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from cli.definition import read_definition
from cli.preflight import refusals
from local.cloud.settings import REPOSITORY

TRAFFIC = REPOSITORY / "pipelines/traffic"


@pytest.mark.parametrize("folder", sorted((REPOSITORY / "pipelines").iterdir()), ids=lambda folder: folder.name)
def test_the_sample_pipelines_are_acceptable(folder: Path) -> None:
    assert refusals(read_definition(folder)) == []


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        ("retrain.schedule=cron(0 2 * * * *)", "retrain.schedule"),  # neither day is ?
        ("retrain.schedule=cron(0 2 ? * ? *)", "retrain.schedule"),
        ("retrain.schedule=cron(0 2 * *)", "retrain.schedule"),
        ("retrain.schedule=0 2 * * *", "retrain.schedule"),
        ("retrain.schedule=rate(0 days)", "retrain.schedule"),
        ("retrain.timezone=Europe/Berln", "retrain.timezone"),
        ("train.max_runtime=0s", "train.max_runtime"),
        ("train.max_runtime=25h", "train.max_runtime"),
        (
            f"train.hyperparameters.interaction_constraints={'x' * 2501}",
            "train.hyperparameters.interaction_constraints",
        ),
        ("name=traffic-", "name"),
    ],
)
def test_a_refusal_names_the_field(setting: str, field: str) -> None:
    found = refusals(read_definition(TRAFFIC, [setting]))
    assert len(found) == 1
    assert found[0].startswith(f"{field}: ")


def test_the_workflow_waits_for_the_longest_training_that_is_accepted() -> None:
    assert refusals(read_definition(TRAFFIC, ["train.max_runtime=24h"])) == []
    retrain = json.loads((REPOSITORY / "statemachine/retrain.asl.json").read_text())
    train = retrain["States"]["Train Candidates"]["ItemProcessor"]["States"]["Train Candidate"]
    assert train["TimeoutSeconds"] > timedelta(hours=24).total_seconds()


def test_too_many_hyperparameters_are_counted_with_the_defaults() -> None:
    many = [f"train.hyperparameters.p{place}=1" for place in range(98)]
    assert [fault.split(":")[0] for fault in refusals(read_definition(TRAFFIC, many))] == ["train.hyperparameters"]


@pytest.mark.parametrize("schedule", ["rate(1 day)", "rate(5 minutes)", "cron(0/15 8-17 ? * MON-FRI *)", "null"])
def test_good_schedules_pass(schedule: str) -> None:
    assert refusals(read_definition(TRAFFIC, [f"retrain.schedule={schedule}"])) == []
