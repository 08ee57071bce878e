"""`run --set`, `withdraw`, `lineage`, `rollback`, `audit`: the commands about what was done, and undone."""

import json
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.stack import Stack
from ratchet.adapters.event_bus import EventBus
from ratchet.contracts.run import Announcement
from ratchet.domain.definition import CompiledDefinition
from ratchet.domain.identity import preprocess_key, train_key
from tests.unit import samples
from tests.unit.cli.conftest import FakeFunctions
from tests.unit.world import ENDPOINT, World

CHAMPION = "ratchet-dev-traffic-g2"
FIRST = samples.upload(1)


@pytest.fixture
def world(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> World:
    """g1 was champion, g2 is; the command's stack sees the same ledger, store and endpoint."""
    world = World()
    world.apply()
    world.accept()
    world.deployed(candidate=0.1)
    world.accept()
    world.deployed(candidate=0.02, until="2026-01-01T00:00:00")
    for name in ("ledger", "store", "endpoints", "workflow"):
        setattr(stack, name, getattr(world, name))
    stack.caller = "arn:aws:iam::123456789012:user/ada"
    stack.outputs = replace(stack.outputs, data_bucket_name=samples.DATA)
    return world


def command(runner: CliRunner, *words: str, code: int = 0) -> Any:
    """The command's JSON."""
    ended = runner.invoke(app, [*words, "--json"])
    assert ended.exit_code == code, ended.stderr
    return json.loads(ended.stdout)


def asked_definition(stack: Stack, functions: FakeFunctions) -> CompiledDefinition:
    """What start_run was asked to run with."""
    function, request = functions.asked[-1]
    assert function == "start-run"
    key = request["definition"]["uri"].split("/", 3)[3]
    stored = stack.s3.get_object(Bucket="artifacts", Key=key)["Body"].read()
    return CompiledDefinition.model_validate_json(stored)


def test_set_runs_once_with_a_derived_definition(
    world: World, stack: Stack, functions: FakeFunctions, runner: CliRunner
) -> None:
    before = world.ledger.pipeline("traffic")
    assert before is not None
    runner.invoke(app, ["run", "traffic", "--set", "train.hyperparameters.max_depth=6"])
    derived, own = asked_definition(stack, functions), samples.compiled()
    assert derived.definition.train.hyperparameters == {"max_depth": 6}
    assert derived.code == own.code
    assert world.ledger.pipeline("traffic") == before
    assert preprocess_key("s", derived) == preprocess_key("s", own)
    parameters = [compiled.definition.train.hyperparameters for compiled in (derived, own)]
    assert train_key("p", derived, parameters[0]) != train_key("p", own, parameters[1])
    assert functions.asked[-1][1]["forced"] is False


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("data.min_rows=5", "cannot change name or data for one run"),
        ("name=other", "cannot change name or data for one run"),
        ("train.max_runtime=99d", "train.max_runtime"),
        ("train.max_depth=6", "there is no such field"),
        ("nonsense", "is not a setting"),
    ],
)
def test_set_refuses_what_a_single_run_cannot_have(
    world: World, functions: FakeFunctions, runner: CliRunner, setting: str, said: str
) -> None:
    ended = runner.invoke(app, ["run", "traffic", "--set", setting])
    assert ended.exit_code == 1
    assert said in " ".join(ended.stderr.split())
    assert functions.asked == []


def test_withdraw_marks_the_models_and_starts_a_run(world: World, functions: FakeFunctions, runner: CliRunner) -> None:
    told = command(runner, "withdraw", FIRST.upload_id, "--pipeline", "traffic", "--reason", "a wrong file")
    assert (told["new"], told["serving"]) == (True, CHAMPION)
    assert told["models"] == ["ratchet-dev-traffic-g1", CHAMPION]
    assert functions.asked == [("start-run", {"pipeline": "traffic", "reason": "manual", "forced": False})]
    again = runner.invoke(app, ["withdraw", FIRST.key, "--reason", "a wrong file"])
    assert "was withdrawn before" in again.stdout
    assert len(functions.asked) == 1
    (withdrawal,) = world.ledger.withdrawals("traffic")
    assert (withdrawal.reason, withdrawal.by) == ("a wrong file", "arn:aws:iam::123456789012:user/ada")


def test_withdraw_says_what_still_serves(world: World, runner: CliRunner) -> None:
    printed = runner.invoke(app, ["withdraw", FIRST.key, "--reason", "wrong"]).stdout
    assert f"{CHAMPION} serves until a model without it is better" in printed


@pytest.mark.parametrize("target", ["traffic", CHAMPION, "traffic-g2"])
def test_lineage_of_the_model_that_serves(world: World, runner: CliRunner, target: str) -> None:
    told = command(runner, "lineage", target)
    assert (told["model"]["model_name"], told["serving"]) == (CHAMPION, True)
    assert [upload["key"] for upload in told["uploads"]] == [FIRST.key, samples.upload(2).key]
    printed = runner.invoke(app, ["lineage", target]).stdout
    for text in (CHAMPION, "serves now", FIRST.key, "promoted", "decision.json", "model.tar.gz"):
        assert text in printed


def test_lineage_of_an_upload(world: World, runner: CliRunner) -> None:
    told = command(runner, "lineage", FIRST.key)
    assert [use["run_id"] for use in told["models"]] == ["traffic-g1", "traffic-g2"]
    printed = runner.invoke(app, ["lineage", f"s3://{samples.DATA}/{FIRST.key}"]).stdout
    for text in (FIRST.upload_id, "ACCEPTED", CHAMPION, "serves now"):
        assert text in printed
    runner.invoke(app, ["withdraw", FIRST.key, "--reason", "a request"])
    assert "a request" in runner.invoke(app, ["lineage", FIRST.key]).stdout
    assert "that were withdrawn since" in runner.invoke(app, ["lineage", "traffic"]).stdout


def test_lineage_of_nothing_known(world: World, runner: CliRunner) -> None:
    for target in ("traffic-g9", "deadbeef", "incoming/traffic/nine.csv"):
        ended = runner.invoke(app, ["lineage", target])
        assert ended.exit_code == 1
        assert f"knows no model and no upload {target}" in " ".join(ended.stderr.split())


def test_an_id_that_begins_several_uploads_is_not_guessed(world: World, runner: CliRunner) -> None:
    ended = runner.invoke(app, ["lineage", "00000000"])
    assert ended.exit_code == 1
    assert "means several uploads" in ended.stderr
    assert FIRST.upload_id in ended.stderr


def test_rollback_puts_the_previous_champion_back_and_tells_people(
    world: World, stack: Stack, runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced: list[tuple[str, Announcement]] = []
    monkeypatch.setattr(EventBus, "announce", lambda _, kind, told: announced.append((kind, told)))
    judged = world.ledger.run("traffic", "traffic-g1")
    assert judged is not None
    assert judged.selection is not None
    world.answer_like(judged.selection)
    monkeypatch.setattr("cli.rollback.time.sleep", lambda _: world.endpoints.finish(ENDPOINT))
    monkeypatch.setattr("cli.rollback.now", world.clock)
    told = command(runner, "rollback", "traffic", "--reason", "weekends")
    assert (told["outcome"], told["by"]) == ("ROLLED_BACK", stack.caller)
    state = world.ledger.pipeline("traffic")
    assert state is not None
    assert state.champion is not None
    assert state.champion.run_id == "traffic-g1"
    assert [kind for kind, _ in announced] == ["Champion Rolled Back"]


def test_rollback_is_refused_while_a_run_owns_the_pipeline(world: World, runner: CliRunner) -> None:
    world.accept()
    world.start()
    ended = runner.invoke(app, ["rollback", "traffic", "--reason", "weekends"])
    assert ended.exit_code == 1
    assert "traffic-g3 owns the pipeline" in " ".join(ended.stderr.split())


def test_audit_exits_with_what_it_finds(world: World, runner: CliRunner) -> None:
    assert command(runner, "audit", "traffic") == {"pipelines": 1, "findings": []}
    assert "Everything is accounted for" in runner.invoke(app, ["audit", "--all"]).stdout
    world.store.write(f"s3://{samples.DATA}/incoming/traffic/nobody-knows.csv", b"a\n")
    (found,) = command(runner, "audit", "--all", code=1)["findings"]
    assert found["kind"] == "object"
    assert "nobody-knows.csv" in runner.invoke(app, ["audit", "traffic"]).stdout


@pytest.mark.parametrize("words", [["audit"], ["audit", "traffic", "--all"]])
def test_audit_wants_one_pipeline_or_all(stack: Stack, runner: CliRunner, words: list[str]) -> None:
    ended = runner.invoke(app, words)
    assert ended.exit_code == 1
    assert "Name one pipeline, or write --all." in ended.stderr
