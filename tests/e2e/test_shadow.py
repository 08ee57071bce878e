"""Shadows under constant load: a candidate gets copies of the champion's requests, and what they show decides."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from cli.listen import Listener
from cli.stack import Stack
from ratchet.contracts.run import RunOutcome
from ratchet.domain.shadowing import FEWEST_REQUESTS
from tests.e2e.conftest import Pipeline, shown
from tests.e2e.once import until
from tests.e2e.rollouts import INSTANCES, Load, apply, ended, live_config, with_champion

# The workflow itself waits while a shadow bakes, in real time; a minute is the shortest.
SHADOW = (*INSTANCES, "deploy.strategy=shadow", "deploy.bake=1m", "deploy.alarms.latency_p99_ms=30000")


@pytest.mark.slow
@pytest.mark.permissions
@pytest.mark.timeout(900)
def test_what_the_copies_show_decides(
    new_pipeline: Callable[[str], Pipeline],
    stack: Stack,
    people: Listener,
    ratchet: Callable[..., Result],
    tmp_path: Path,
) -> None:
    shadowed = with_champion(new_pipeline("shadowed"), *SHADOW)
    endpoint = stack.endpoint_name(shadowed.name)

    first, serving = shadowed.champion, live_config(stack, endpoint)
    with Load(stack, endpoint) as load:
        apply(shadowed, *SHADOW, "train.hyperparameters.num_round=20", fault="raises", folder=tmp_path)
        bad = ended(shadowed)
    assert bad.outcome is RunOutcome.FAILED, bad.because
    assert bad.error is not None
    assert bad.error.error == "ShadowWorseError"
    assert bad.comparison is not None
    assert 0.1 < bad.comparison.candidate.error_rate < 0.3
    assert bad.comparison.champion.error_rate == 0
    assert people.hear(bad.run_id, "failed", "errors_5xx")
    assert load.failed == []
    assert len(set(load.answers)) == 1, "nobody but the champion answered"
    assert (shadowed.champion, live_config(stack, endpoint)) == (first, serving)

    with Load(stack, endpoint) as load:
        apply(shadowed, *SHADOW, "train.hyperparameters.num_round=40")
        good = ended(shadowed)
    assert good.outcome is RunOutcome.DEPLOYED, good.because
    assert shadowed.champion == good.run_id
    assert load.failed == []
    assert good.comparison is not None
    candidate, champion = good.comparison.candidate, good.comparison.champion
    assert candidate.requests == pytest.approx(champion.requests, rel=0.05), "each request is copied"
    assert candidate.requests > FEWEST_REQUESTS
    assert (candidate.errors_4xx, candidate.errors_5xx) == (0, 0)
    before = load.answers[0]
    others = [answer for answer in load.answers if answer != before]
    assert load.answers == [before] * (len(load.answers) - len(others)) + others, "only a promoted candidate answers"
    assert shown(["shadow", "candidate", good.comparison.sentence], ratchet("show", good.run_id).stdout)
    until(lambda: True if {"AllTraffic", "Shadow"} <= captured(stack, endpoint) else None, 30)


def captured(stack: Stack, endpoint: str) -> set[str]:
    """The variants whose requests were kept."""
    prefix = f"captures/{endpoint}/"
    listed = stack.s3.list_objects_v2(Bucket=stack.outputs.artifacts_bucket_name, Prefix=prefix).get("Contents", [])
    return {found["Key"].removeprefix(prefix).partition("/")[0] for found in listed}
