"""The graph lint on both workflows, and on broken ones: a rule that cannot fail is no rule."""

from collections.abc import Callable

import pytest

from tests.statemachine import lint
from tests.statemachine.definitions import MACHINES, Machine, load, places

Break = Callable[[Machine], object]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("rule", lint.RULES, ids=lambda rule: rule.__name__)
def test_workflows_keep_every_rule(machine: str, rule: lint.Rule) -> None:
    assert list(rule(load(machine))) == []


@pytest.mark.parametrize("machine", MACHINES)
def test_every_path_that_is_read_was_written_before(machine: str) -> None:
    assert list(lint.paths_were_written(load(machine), lint.INPUTS[machine])) == []


def test_ingest_cannot_outlive_its_own_timeout_which_no_catch_would_see() -> None:
    ingest = load("ingest")
    assert ingest["TimeoutSeconds"] <= 300, "an Express execution ends after five minutes"
    assert lint.longest_way(ingest) < ingest["TimeoutSeconds"]


def test_retrain_cannot_outlive_its_own_timeout_either() -> None:
    retrain = load("retrain")
    limits = sum(place.state["TimeoutSeconds"] for place in places(retrain) if place.state["Type"] == "Task")
    longest_settle = 24 * 3600
    assert limits + longest_settle < retrain["TimeoutSeconds"]


def state(machine: Machine, name: str) -> Machine:
    """The state of that name, wherever it stands."""
    return next(place.state for place in places(machine) if place.name == name)


def payload(machine: Machine, name: str) -> Machine:
    """What a Lambda state sends."""
    sent: Machine = state(machine, name)["Parameters"]["Payload"]
    return sent


def catcher(machine: Machine, name: str) -> Machine:
    """The first of a state's catchers."""
    first: Machine = state(machine, name)["Catch"][0]
    return first


def retrier(machine: Machine) -> Machine:
    """Create Model's."""
    first: Machine = state(machine, "Create Model")["Retry"][0]
    return first


BROKEN: list[tuple[lint.Rule, str, Break]] = [
    (lint.targets_exist, "'Nowhere'", lambda m: state(m, "Create Model").update(Next="Nowhere")),
    (lint.targets_exist, "StartAt", lambda m: m.update(StartAt="Nowhere")),
    (lint.states_are_reachable, "Verify", lambda m: state(m, "Deploy Endpoint").update(Next="Promote Champion")),
    (lint.paths_end_in_outcomes, "Announce Failure", lambda m: state(m, "Announce Failure").update(End=True)),
    (lint.paths_end_in_outcomes, "Run Failed", lambda m: state(m, "Run Failed").update(Type="Succeed")),
    (lint.paths_end_in_outcomes, "Score Holdout", lambda m: state(m, "Find Model").update(Next="Score Holdout")),
    (
        lint.paths_end_in_outcomes,
        "Model Deployed",
        lambda m: state(m, "Create Model")["Catch"][1].update(Next="Is It The Model?"),
    ),
    (
        lint.paths_end_in_outcomes,
        "Model Deployed",
        lambda m: catcher(m, "Register Model").update(Next="Model Deployed"),
    ),
    (lint.tasks_say_how_long, "Train Candidate", lambda m: state(m, "Train Candidate").pop("TimeoutSeconds")),
    (lint.tasks_say_when_again, "Score Model", lambda m: state(m, "Score Model").pop("Retry")),
    (lint.tasks_say_when_again, "JitterStrategy", lambda m: retrier(m).pop("JitterStrategy")),
    (lint.tasks_say_when_again, "within 15 s", lambda m: retrier(m).update(MaxAttempts=2)),
    (lint.tasks_say_where_else, "Train Candidate", lambda m: state(m, "Train Candidates").pop("Catch")),
    (lint.tasks_say_where_else, "$.error", lambda m: state(m, "Create Model")["Catch"][0].pop("ResultPath")),
    (lint.errors_have_names, "TooBusyError", lambda m: retrier(m).update(ErrorEquals=["TooBusyError"])),
    (lint.errors_have_names, "StaleRunError", lambda m: retrier(m).update(ErrorEquals=["StaleRunError"])),
    (lint.names_read_well, "make it", lambda m: m["States"].update({"make it": {"Type": "Succeed"}})),
    (lint.names_read_well, "Is It", lambda m: m["States"].update({"Is It": {"Type": "Choice", "Choices": []}})),
    (lint.choices_have_defaults, "Is Candidate Better?", lambda m: state(m, "Is Candidate Better?").pop("Default")),
    (lint.inputs_are_explicit, "ResultPath", lambda m: state(m, "Select Candidate").pop("ResultPath")),
    (lint.payloads_fit_contracts, "requires", lambda m: payload(m, "Select Candidate").pop("plan.$")),
    (lint.payloads_fit_contracts, "lacks", lambda m: payload(m, "Select Candidate").update(x=1)),
    (lint.payloads_fit_contracts, "x.$", lambda m: state(m, "Evaluate Model")["ResultSelector"].update({"x.$": "$.x"})),
    (
        lint.answers_are_certain,
        "$.FinalMetricDataList",
        lambda m: state(m, "Train Candidate")["ResultSelector"].update({"x.$": "$.FinalMetricDataList"}),
    ),
    (
        lint.results_arrive_whole,
        "champion",
        lambda m: state(m, "Check Idempotency")["ResultSelector"].pop("champion.$"),
    ),
    (lint.parameters_fit_operations, "Nam,", lambda m: state(m, "Create Model")["Parameters"].update(ModelNam="x")),
    (lint.parameters_fit_operations, "requires", lambda m: state(m, "Create Model")["Parameters"].pop("ModelName.$")),
]

UNWRITTEN: list[tuple[str, Break]] = [
    ("$.plam", lambda m: payload(m, "Select Candidate").update({"plan.$": "$.plam"})),
    ("$.run.name", lambda m: state(m, "Wait For Uploads To Settle").update(SecondsPath="$.run.name")),
    ("$.plan.tran", lambda m: state(m, "Train Candidates").update(ItemsPath="$.plan.tran")),
    ("$.candidate.job", lambda m: state(m, "Train Candidate")["Parameters"].update({"RoleArn.$": "$.candidate.job"})),
    ("$.champion", lambda m: state(m, "Score Model")["Parameters"].update({"ModelName.$": "$.champion"})),
    ("$.Artifacts.Uri", lambda m: state(m, "Train Candidate")["ResultSelector"].update({"x.$": "$.Artifacts.Uri"})),
    ("$.Payload.verdict", lambda m: state(m, "Evaluate Model")["ResultSelector"].update({"x.$": "$.Payload.verdict"})),
    (
        "$.found.Image",
        lambda m: state(m, "Is It The Model?")["Choices"][0]["And"][1].update(StringEqualsPath="$.found.Image"),
    ),
    ("$.evaluation.x", lambda m: state(m, "Is Candidate Better?")["Choices"][-1].update(Variable="$.evaluation.x")),
    ("$.plan", lambda m: payload(m, "Close Failed Run").update({"plan.$": "$.plan"})),
    ("$.error", lambda m: state(m, "Announce Deployment")["Parameters"].update({"EndpointId.$": "$.error"})),
    ("$$.Execution.Nam", lambda m: payload(m, "Check Idempotency").update({"run.$": "$$.Execution.Nam"})),
    ("$.run.id", lambda m: payload(m, "Select Candidate").update({"x.$": "States.Hash($.run.id, 'MD5')"})),
]


@pytest.mark.parametrize(("rule", "said", "change"), BROKEN, ids=[f"{row[0].__name__}-{row[1]}" for row in BROKEN])
def test_a_rule_finds_what_it_is_for(rule: lint.Rule, said: str, change: Break) -> None:
    machine = load("retrain")
    change(machine)
    assert any(said in finding for finding in rule(machine))


@pytest.mark.parametrize(("path", "change"), UNWRITTEN, ids=[row[0] for row in UNWRITTEN])
def test_a_path_that_was_not_written_is_found(path: str, change: Break) -> None:
    machine = load("retrain")
    change(machine)
    findings = list(lint.paths_were_written(machine, lint.INPUTS["retrain"]))
    assert any(f" {path}, " in finding for finding in findings), findings


def test_a_step_that_takes_longer_than_the_machine_is_found() -> None:
    ingest = load("ingest")
    ingest["States"]["Validate Data"]["TimeoutSeconds"] = 150
    assert lint.longest_way(ingest) > ingest["TimeoutSeconds"]
