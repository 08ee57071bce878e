"""Deployments under constant load: a good candidate takes over, and each kind of bad one is kept away by its guard."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cli.listen import Listener
from cli.stack import Stack
from ratchet.contracts.run import RunOutcome
from tests.e2e.conftest import Pipeline
from tests.e2e.rollouts import CANARY, Load, apply, ended, live_config, with_champion

# The share of traffic is what is looked at, not how slow a busy machine is.
PATIENT = "deploy.alarms.latency_p99_ms=30000"


@pytest.fixture(scope="module")
def faulted(new_pipeline: Callable[[str], Pipeline], people: Listener) -> Pipeline:
    """A champion on two instances; none of its candidates lives, so each of them is better than it."""
    return with_champion(new_pipeline("faulted"), *CANARY)


def test_a_canary_to_a_better_model_fails_no_request(
    new_pipeline: Callable[[str], Pipeline], people: Listener, stack: Stack
) -> None:
    guarded = with_champion(new_pipeline("guarded"), *CANARY, PATIENT)
    endpoint = stack.endpoint_name(guarded.name)
    with Load(stack, endpoint) as load:
        apply(guarded, *CANARY, PATIENT, "train.hyperparameters.num_round=40")
        run = ended(guarded)
    assert run.outcome is RunOutcome.DEPLOYED, run.because
    assert load.failed == []
    assert abs(load.share_of_the_new() - 0.5) <= 0.05
    assert guarded.champion == run.run_id


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "settings", "error"),
    [
        pytest.param("raises", (), "EndpointRolledBackError", marks=pytest.mark.permissions),
        ("slow", (), "EndpointRolledBackError"),
        ("dead", (), "EndpointRolledBackError"),
        pytest.param("other", ("deploy.verify=after",), "PredictionMismatchError", marks=pytest.mark.permissions),
        ("other", ("deploy.verify=before",), "PredictionMismatchError"),
    ],
)
def test_a_bad_candidate_is_kept_away_and_the_champion_serves(
    faulted: Pipeline,
    stack: Stack,
    people: Listener,
    tmp_path: Path,
    fault: str,
    settings: tuple[str, ...],
    error: str,
) -> None:
    champion, endpoint = faulted.champion, stack.endpoint_name(faulted.name)
    before = live_config(stack, endpoint)
    with Load(stack, endpoint) as load:
        number = 20 + len(settings) + len(fault)
        rounds = f"train.hyperparameters.num_round={number}"
        apply(faulted, *CANARY, rounds, *settings, fault=fault, folder=tmp_path)
        run = ended(faulted)
    assert run.outcome is RunOutcome.FAILED, run.because
    assert run.error is not None
    assert run.error.error == error, run.because
    assert faulted.champion == champion
    assert people.hear(run.run_id, "failed")
    assert live_config(stack, endpoint) == before
    assert len(load.answers) > 20
    if fault in ("dead", "other"):
        assert load.failed == []
    assert (run.unverified_seconds is not None) is ("deploy.verify=after" in settings)
    (alarm, *_) = stack.session.client("cloudwatch").describe_alarms(AlarmNames=[f"{endpoint}-5XX"])["MetricAlarms"]
    assert {"Name": "EndpointConfigName", "Value": before} in alarm["Dimensions"], "it watches the champion again"
