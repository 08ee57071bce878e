"""The gate's decisions on really trained models: worse, equal, better, and better only in part."""

import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli import samples
from cli.apply import Applied, Code, apply_definition
from cli.definition import read_definition
from cli.stack import Stack
from cli.upload import await_verdict, put
from local.cloud.settings import REPOSITORY
from ratchet.contracts.run import RunOutcome
from ratchet.domain.ledger import RunRecord
from tests.e2e.conftest import VERDICT_TIMEOUT, Pipeline

FOLDER = Path(__file__).parent / "decisions"
FIRST = datetime(2026, 1, 1)  # noqa: DTZ001 - data has no zone
ROWS_A_DAY = 12
GOOD = "train.hyperparameters.num_round=60"
Make = Callable[[str], Pipeline]


@dataclass(frozen=True)
class Judged:
    """A pipeline of this folder's definition, whose every change of definition is a run of its own."""

    pipeline: Pipeline

    @classmethod
    def over(cls, pipeline: Pipeline, content: bytes, *settings: str) -> "Judged":
        """With a champion trained under the settings."""
        judged = cls(pipeline)
        judged._apply(*settings)
        (verdict,) = pipeline.upload(pipeline.file("rows.csv", content))
        assert verdict.outcome == "ACCEPTED", verdict.finding
        run = pipeline.last()
        assert run.outcome is RunOutcome.DEPLOYED, run.finding
        assert pipeline.champion == run.run_id
        return judged

    def decide(self, *settings: str) -> tuple[RunRecord, dict[str, dict[str, Any]]]:
        """The run that the changed definition starts, and the decision's rules by name."""
        known = len(self.pipeline.settled())
        self._apply(*settings)
        runs = self.pipeline.settled()
        assert len(runs) == known + 1
        return runs[-1], {rule["name"]: rule for rule in decision_of(self.pipeline.stack, runs[-1])["rules"]}

    def _apply(self, *settings: str) -> Applied:
        definition = read_definition(FOLDER, [f"name={self.pipeline.name}", *settings])
        return apply_definition(self.pipeline.stack, definition, Code.pack())


def decision_of(stack: Stack, run: RunRecord) -> dict[str, Any]:
    assert run.evaluation
    bucket, _, key = run.evaluation.decision_uri.removeprefix("s3://").partition("/")
    document: dict[str, Any] = json.loads(stack.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    assert document["sentence"] == run.evaluation.sentence
    return document


def rows(days: int, effect: Callable[[int], float] = lambda day: 1.0) -> bytes:
    """`y` follows x in the north and z in the south, by the day's effect, with a little noise."""
    drawn = random.Random(20170301)  # noqa: S311 - repeatable rows, no secret
    lines = ["at,side,x,z,y"]
    for number in range(days * ROWS_A_DAY):
        at, side = FIRST + timedelta(hours=2 * number), "south" if number % 6 == 0 else "north"
        x, z = drawn.uniform(-1, 1), drawn.uniform(-1, 1)
        signal = math.sin(3 * x) if side == "north" else math.sin(3 * z)
        y = 100 + 20 * signal * effect(number // ROWS_A_DAY) + drawn.gauss(0, 1)
        lines.append(f"{at.isoformat()},{side},{x:.4f},{z:.4f},{y:.4f}")
    return "\n".join([*lines, ""]).encode()


def failed(rules: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, rule in rules.items() if not rule["passed"]]


@pytest.fixture(scope="module")
def judged(new_pipeline: Make) -> Judged:
    """A champion of three rounds, which is well short of what can be learned."""
    return Judged.over(new_pipeline("decided"), rows(98))


def refused(run: RunRecord, judged: Judged, champion: str | None) -> str:
    """The sentence of a refusal that left the champion serving."""
    assert run.outcome is RunOutcome.REFUSED, run.finding
    assert judged.pipeline.champion == champion
    assert run.evaluation
    assert run.finding
    assert run.finding.why in run.evaluation.sentence
    return run.evaluation.sentence


def test_a_worse_candidate_is_refused(judged: Judged) -> None:
    champion = judged.pipeline.champion
    run, rules = judged.decide("features.exclude=[x, z]", GOOD)
    assert failed(rules) == ["champion", "slices"]
    numbers = rules["champion"]["numbers"]
    assert (numbers["method"], numbers["blocks"], numbers["fresh_rows"]) == ("diebold_mariano", 28, 28 * ROWS_A_DAY)
    assert numbers["probability"] < 0.01
    assert "better with probability 0.000, and 0.90 is needed" in refused(run, judged, champion)


def test_an_equal_candidate_is_refused(judged: Judged) -> None:
    """Another definition and another training, which come to the same model."""
    champion = judged.pipeline.champion
    run, rules = judged.decide("train.hyperparameters.verbosity=0")
    assert failed(rules) == ["champion"]
    assert rules["champion"]["numbers"]["candidate"] == rules["champion"]["numbers"]["champion"]
    assert "a tie keeps the champion" in refused(run, judged, champion)


def test_better_on_the_whole_but_much_worse_on_a_slice_is_refused(judged: Judged) -> None:
    champion = judged.pipeline.champion
    run, rules = judged.decide("features.exclude=[z]", GOOD)
    assert failed(rules) == ["slices"]
    assert rules["champion"]["numbers"]["probability"] > 0.99
    slices = {item["value"]: item for item in rules["slices"]["numbers"]["slices"]}
    assert slices["north"]["regression"] < 0 < slices["south"]["regression"]
    assert "1 of 2 slices regress by more than 0.050; the worst is side = south" in refused(run, judged, champion)


def test_a_better_candidate_replaces_the_champion(judged: Judged) -> None:
    champion = judged.pipeline.champion
    run, rules = judged.decide(GOOD)
    assert not failed(rules)
    assert run.outcome is RunOutcome.DEPLOYED, run.finding
    assert judged.pipeline.champion == run.run_id != champion
    assert run.evaluation
    assert run.evaluation.sentence.startswith(f"{run.run_id} is promoted: ")
    assert "better with probability 1.000, and 0.90 is needed" in run.evaluation.sentence


def test_better_only_on_rows_the_champion_has_seen_is_refused(new_pipeline: Make) -> None:
    """Four weeks ago the effect vanished: who follows it wins the weeks before, which the champion was trained on."""
    judged = Judged.over(
        new_pipeline("seen"), rows(140, lambda day: 1.0 if day < 112 else 0.0), "features.exclude=[x, z]"
    )
    champion = judged.pipeline.champion
    run, rules = judged.decide(GOOD, "gate.holdout=70d")
    assert run.evaluation
    assert run.evaluation.champion is not None
    assert run.evaluation.candidate > run.evaluation.champion
    numbers = rules["champion"]["numbers"]
    assert numbers["fresh_rows"] == 28 * ROWS_A_DAY
    assert numbers["candidate"] < numbers["champion"]
    assert "champion" in failed(rules)
    sentence = refused(run, judged, champion)
    assert (
        f"on {28 * ROWS_A_DAY} fresh rows of 28 days ({42 * ROWS_A_DAY} more the champion was trained on)" in sentence
    )


@pytest.mark.parametrize(
    ("name", "uploads"),
    [("late-arrivals", lambda: [samples.late_arrivals_parts()["2013-01"]]), ("departures", None)],
)
def test_other_data_sets_go_through_by_definition_alone(
    new_pipeline: Make, stack: Stack, name: str, uploads: Callable[[], list[bytes]] | None
) -> None:
    """Classes, and three series in one model: their own thresholds, nothing but the waiting shortened."""
    pipeline = new_pipeline(f"own-{name}")
    definition = read_definition(
        REPOSITORY / "pipelines" / name, [f"name={pipeline.name}", "retrain.settle=15s", "retrain.schedule=null"]
    )
    apply_definition(stack, definition, Code.pack())
    contents = uploads() if uploads else list(samples.departures_months().values())
    files = [pipeline.file(f"{number}.csv", content) for number, content in enumerate(contents)]
    made = [put(stack, stack.pipeline(pipeline.name), file) for file in files]
    assert {await_verdict(stack, one, VERDICT_TIMEOUT).outcome for one in made} == {"ACCEPTED"}
    run = pipeline.last()
    assert run.outcome is RunOutcome.DEPLOYED, run.finding
    assert run.evaluation
    assert run.evaluation.candidate >= definition.gate.threshold
    decision = decision_of(stack, run)
    if name == "departures":
        assert (decision["naive"]["season"], decision["naive"]["series"]) == ("7d", ["origin"])
        assert "season detected" in decision["sentence"]
    else:
        assert decision["naive"]["label"] == "false"
        assert decision["holdout_uses"] == 1
