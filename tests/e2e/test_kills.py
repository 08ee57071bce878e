"""A cloud that is killed loses nothing that it has acknowledged, and its pipelines recover by themselves."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.predict import ask
from cli.stack import Stack
from local.cloud.copying import copy
from local.cloud.process import Cloud
from ratchet.contracts.run import RunOutcome
from tests.e2e.kills import Killed, seed_of
from tests.e2e.once import Tiny

SEED = "RATCHET_KILL_SEED"  # to replay a failure: the seed that it printed


@pytest.fixture
def mortal(stack: Stack, cloud: Cloud, tmp_path: Path) -> Iterator[Cloud]:
    """A cloud of its own for a test, with the stack of the others deployed."""
    assert stack.name
    copied = copy(cloud, tmp_path / "mortal")
    copied.up()
    yield copied
    copied.down(timeout=120)


@pytest.fixture
def killed(mortal: Cloud, tmp_path: Path) -> Callable[[str], Killed]:
    """A pipeline of that cloud, under fire."""
    return lambda name: Killed(mortal, Tiny(name, Stack.of_cloud(mortal), tmp_path))


def survives(killed: Killed, uploads: int, kills: int) -> None:
    """Uploads, kills, and everything that must hold afterwards."""
    seed = seed_of(int(os.environ[SEED]) if SEED in os.environ else None)
    print(f"{SEED}={seed}")  # noqa: T201  pytest shows it when the test fails
    killed.tiny.apply("retrain.settle=2s", "retrain.retry_after=[2s, 2s]")
    killed.upload(uploads, kills, seed)
    assert killed.kills == kills
    killed.make_up()
    report = killed.audited()
    outcomes = killed.outcomes()
    print(killed.summary())  # noqa: T201
    assert report.findings == ()
    assert len(outcomes) == len(killed.acknowledged) == uploads
    broken = {version for version in outcomes if int(version[0].rpartition("/")[2].removesuffix(".csv")) % 10 == 0}
    assert {outcomes[version] for version in broken} <= {"REJECTED", "DEAD LETTER"}
    assert {outcomes[version] for version in outcomes.keys() - broken} <= {"ACCEPTED", "DEAD LETTER"}
    runs = killed.stack.ledger.runs(killed.tiny.name)
    assert RunOutcome.DEPLOYED in {run.outcome for run in runs}
    assert all(run.outcome is not None for run in runs)
    low, high = ask(killed.stack, killed.tiny.name, [{"x": 2}, {"x": 38}])
    assert low["prediction"] < high["prediction"]


def test_twenty_uploads_through_a_cloud_that_is_killed_once(killed: Callable[[str], Killed]) -> None:
    survives(killed("killed-once"), uploads=20, kills=1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_five_hundred_uploads_through_a_cloud_that_is_killed_five_times(killed: Callable[[str], Killed]) -> None:
    survives(killed("killed-often"), uploads=500, kills=5)
