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
from tests.e2e.kills import Killed, is_broken, seed_of
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


def survives(killed: Killed, uploads: int, kills: int, *settings: str) -> None:
    """Uploads, kills, and what must have become of every upload afterwards."""
    seed = seed_of(int(os.environ[SEED]) if SEED in os.environ else None)
    print(f"{SEED}={seed}")  # noqa: T201  pytest shows it when the test fails
    killed.tiny.apply(*settings)
    killed.upload(uploads, kills, seed)
    assert killed.kills == kills
    killed.make_up()
    report = killed.audited()
    outcomes = killed.outcomes()
    print(killed.summary())  # noqa: T201
    assert report.findings == ()
    assert len(outcomes) == len(killed.acknowledged) == uploads
    for (key, version), outcome in outcomes.items():
        number = int(key.rpartition("/")[2].removesuffix(".csv"))
        assert outcome in {"REJECTED" if is_broken(number) else "ACCEPTED", "DEAD LETTER"}, (key, version)


def test_twenty_uploads_through_a_cloud_that_is_killed_once(killed: Callable[[str], Killed]) -> None:
    survives(killed("killed-once"), 20, 1, "retrain.on_upload=false")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_five_hundred_uploads_through_a_cloud_that_is_killed_five_times(killed: Callable[[str], Killed]) -> None:
    often = killed("killed-often")
    survives(often, 500, 5, "retrain.settle=2s", "retrain.retry_after=[2s, 2s]")
    runs = often.stack.ledger.runs(often.tiny.name)
    assert RunOutcome.DEPLOYED in {run.outcome for run in runs}
    assert all(run.outcome is not None for run in runs)
    low, high = ask(often.stack, often.tiny.name, [{"x": 2}, {"x": 38}])
    assert low["prediction"] < high["prediction"]
