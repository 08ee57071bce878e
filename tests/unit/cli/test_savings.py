"""`ratchet show`: which steps ran, which were reused, and what that saved."""

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from cli import savings, show
from cli.main import app
from cli.stack import Stack
from ratchet.contracts.run import RunOutcome, RunPlan, TrainPlan
from ratchet.domain.ledger import Claim, RunRecord, Step
from ratchet.domain.savings import StepUse, saved, steps_of
from tests.statemachine import examples
from tests.unit import samples

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def plan() -> RunPlan:
    """Preprocessing and the first of two candidates are reused."""
    made = examples.plan(known=True, candidates=2)
    assert made.train is not None
    first, second = made.train.candidates
    train: TrainPlan = made.train.model_copy(update={"candidates": (second,), "reused": (first,)})
    return made.model_copy(update={"train": train})


def ran(stack: Stack) -> RunRecord:
    stack.ledger.apply_definition("traffic", samples.definition_ref())
    run = stack.ledger.claim("traffic", "upload", False, samples.execution_arn, NOW)
    assert run is not None
    for key, run_id, took, cost in (
        ("c", "traffic-g0", 90, 0.022),
        ("1", "traffic-g0", 40, 0.0013),
        ("2", run.run_id, 50, None),
    ):
        step = Step(
            key=examples.sha(key),
            kind="train",
            run_id=run_id,
            output_uri="s3://a/b/",
            made_at=NOW,
            seconds=took,
            dollars=cost,
        )
        stack.ledger.put_step("traffic", step)
    closed = run.model_copy(update={"plan": plan(), "outcome": RunOutcome.REFUSED, "ended_at": NOW})
    stack.ledger.close(Claim(pipeline="traffic", fence=1, execution_arn=run.execution_arn), closed)
    return closed


def test_only_what_was_reused_is_saved(stack: Stack) -> None:
    steps = steps_of(stack.ledger, ran(stack))
    assert [(step.name, step.reused) for step in steps] == [
        ("preprocess", True),
        ("train c1", True),
        ("train c2", False),
    ]
    assert saved(steps) == (130, 0.0233)


def test_a_run_that_reused_nothing_claims_no_savings(stack: Stack) -> None:
    steps = [StepUse("preprocess", "a", reused=False, seconds=9, dollars=1)]
    assert savings.sentence(steps) is None
    assert saved(steps) == (0, 0)


def test_show_says_what_ran_and_what_was_reused(
    stack: Stack, runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(stack)
    monkeypatch.setattr(show, "timeline", lambda executions, arn: None)
    printed = runner.invoke(app, ["show", "traffic-g1"]).stdout
    document = json.loads(runner.invoke(app, ["show", "traffic-g1", "--json"]).stdout)
    for text in ("reused", "ran", "traffic-g0", "reuse saved 2 min 10 s of job time and $0.0233"):
        assert text in printed
    assert document["saved"] == {"seconds": 130, "dollars": 0.0233}
    assert [step["reused"] for step in document["steps"]] == [True, True, False]
