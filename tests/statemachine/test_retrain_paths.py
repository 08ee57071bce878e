"""The retrain workflow by named paths: every outcome, every Catch, every Retry, and what each Task is sent."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from ratchet.contracts.closing import CloseRunRequest
from ratchet.contracts.run import Champion, GlueJobRun, Rollout, RunOutcome
from ratchet.domain.approving import WAIT
from ratchet.domain.deploy_section import LONGEST_SHADOW
from tests.statemachine import examples, interpreter
from tests.statemachine.definitions import (
    CONTRACTS,
    function_of,
    integration,
    load,
    places,
    tasks,
    text_of,
    transitions,
)
from tests.statemachine.examples import CHAMPION, RUN, answered
from tests.statemachine.interpreter import Answer, Execution, Raised, run
from tests.statemachine.lint import DISPENSABLE, OPERATIONS

GIVEN = {"run": RUN.model_dump(mode="json")}
RETRAIN = load("retrain")
TASKS = {place.name: place.state for place in tasks(RETRAIN)}

TO_THE_GATE = [
    "Wait For Uploads To Settle",
    "Check Idempotency",
    "Is There New Work?",
    "Preprocess Data",
    "Train Candidates",
    "Train Candidate",
    "Select Candidate",
    "Create Model",
    "Score Holdout",
    "Score Model",
    "Evaluate Model",
    "Write Report",
    "Is Candidate Better?",
]
DEPLOYED = [
    "Register Model",
    "Deploy Endpoint",
    "Verify Endpoint",
    "Promote Champion",
    "Announce Deployment",
    "Model Deployed",
]
TRIED = ["Deploy Trial Endpoint", "Verify Trial Endpoint", "Remove Trial Endpoint", "Is Approval Required?"]
ASKED = ["Wait For Approval", "Is Deployment Approved?"]
SHADOWED = ["Shadow Champion", "Bake Shadow", "Compare Shadow"]
REFUSED = ["Close Refused Run", "Announce Refusal", "Candidate Refused"]
FAILED = ["Close Failed Run", "Announce Failure", "Run Failed"]
MADE = {"ModelName": "m", "PrimaryContainer": {"ModelDataUrl": examples.selection().candidate.model_uri}}


def answers(
    promote: bool = True,
    known: bool = False,
    candidates: int = 1,
    champion: Champion | None = None,
    changes: Mapping[str, list[Answer]] | None = None,
    rollout: Rollout = examples.STRAIGHT,
) -> dict[str, list[Answer]]:
    """Every service answers well, but for `changes`."""
    good: dict[str, list[Answer]] = {
        "Check Idempotency": [answered(examples.plan(known, candidates, champion, rollout))],
        "Preprocess Data": [examples.PREPROCESSED],
        "Train Candidate": [examples.TRAINED],
        "Select Candidate": [answered(examples.selection(champion))],
        "Create Model": [{"ModelArn": "arn:aws:sagemaker:us-east-1:123456789012:model/m"}],
        "Find Model": [MADE],
        "Score Model": [examples.SCORED],
        "Evaluate Model": [answered(examples.evaluation(promote))],
        "Write Report": [answered(examples.REPORT)],
        "Close Refused Run": [answered(examples.closed(RunOutcome.REFUSED))],
        "Announce Refusal": [examples.PUT],
        "Deploy Trial Endpoint": [examples.TRIAL.model_dump(mode="json")],
        "Verify Trial Endpoint": [answered(examples.VERIFICATION)],
        "Remove Trial Endpoint": [{}],
        "Wait For Approval": [examples.APPROVED.model_dump(mode="json")],
        "Shadow Champion": [examples.SHADOW.model_dump(mode="json")],
        "Compare Shadow": [answered(examples.COMPARISON)],
        "Register Model": [{"ModelPackageArn": examples.PACKAGE_ARN}],
        "Deploy Endpoint": [examples.DEPLOYMENT.model_dump(mode="json")],
        "Verify Endpoint": [answered(examples.VERIFICATION)],
        "Promote Champion": [answered(examples.closed(RunOutcome.DEPLOYED))],
        "Announce Deployment": [examples.PUT],
        "Close Failed Run": [answered(examples.closed(RunOutcome.FAILED))],
        "Announce Failure": [examples.PUT],
    }
    return good | dict(changes or {})


def rollout_with(state: str) -> Rollout:
    """The straight way, unless the state is not on it."""
    return CAREFUL if state in OPTIONAL else examples.STRAIGHT


def always(error: str) -> list[Answer]:
    """The same error on every attempt, however often the state retries."""
    return [Raised(error)] * 20


CAREFUL = Rollout(trial=True, approval=True, shadow=True, bake_seconds=0, watch=examples.WATCH)
OPTIONAL = {*TRIED, *ASKED, *SHADOWED}
MISMATCH = {"Verify Endpoint": always("PredictionMismatchError")}


@pytest.fixture(scope="module")
def first_model() -> Execution:
    return run("retrain", GIVEN, answers())


@pytest.fixture(scope="module")
def next_model() -> Execution:
    return run("retrain", GIVEN, answers(champion=CHAMPION))


@pytest.fixture(scope="module")
def refusal() -> Execution:
    return run("retrain", GIVEN, answers(promote=False, champion=CHAMPION))


@pytest.fixture(scope="module")
def failure() -> Execution:
    return run("retrain", GIVEN, answers(changes=MISMATCH))


@pytest.fixture(scope="module")
def careful() -> Execution:
    """With everything that may come between the gate and the endpoint."""
    return run("retrain", GIVEN, answers(champion=CHAMPION, rollout=CAREFUL))


@pytest.fixture(scope="module")
def silence() -> Execution:
    """The interpreter lets no test raise an error of the language, so the time-out goes by another name."""
    named = text_of("retrain").replace('"States.Timeout"', '"Test.Timeout"')
    unanswered = answers(rollout=CAREFUL, changes={"Wait For Approval": always("Test.Timeout")})
    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(interpreter, "text_of", lambda _: named)
        return run("retrain", GIVEN, unanswered)


def test_a_first_model_is_deployed(first_model: Execution) -> None:
    assert first_model.status == "SUCCEEDED"
    assert first_model.path == TO_THE_GATE + DEPLOYED


def test_with_a_champion_both_models_score_the_holdout(next_model: Execution) -> None:
    assert next_model.status == "SUCCEEDED"
    assert next_model.path.count("Score Model") == 2
    scored = [sent["ModelName"] for sent in next_model.sent["Score Model"]]
    assert sorted(scored) == sorted([f"ratchet-test-{RUN.run_id}", CHAMPION.model_name])


def test_a_success_costs_at_most_twenty_transitions(next_model: Execution) -> None:
    assert transitions(RETRAIN, next_model.path) == 20


def test_known_preprocessing_is_not_done_again() -> None:
    execution = run("retrain", GIVEN, answers(known=True))
    assert execution.status == "SUCCEEDED"
    assert "Preprocess Data" not in execution.path


def test_every_candidate_gets_a_training_job_of_its_own() -> None:
    execution = run("retrain", GIVEN, answers(candidates=3))
    names = [sent["TrainingJobName"] for sent in execution.sent["Train Candidate"]]
    assert sorted(names) == [f"ratchet-test-{RUN.run_id}-c{number}-0" for number in (1, 2, 3)]
    assert len(execution.payload("Select Candidate")["trained"]) == 3


def test_with_no_candidate_left_to_train_the_reused_ones_are_judged() -> None:
    execution = run("retrain", GIVEN, answers(candidates=0))
    assert execution.status == "SUCCEEDED"
    assert execution.payload("Select Candidate")["trained"] == []


def test_nothing_to_do_ends_at_once() -> None:
    execution = run("retrain", GIVEN, answers(changes={"Check Idempotency": [answered(examples.NOTHING_TO_DO)]}))
    assert execution.status == "SUCCEEDED"
    assert execution.path == [*TO_THE_GATE[:3], "Nothing To Do"]


def test_a_refusal_closes_the_run_and_tells_people(refusal: Execution) -> None:
    assert refusal.status == "SUCCEEDED"
    assert [state for state in refusal.path if state not in TO_THE_GATE] == REFUSED
    assert refusal.payload("Close Refused Run")["outcome"] == "REFUSED"
    assert refusal.sent["Announce Refusal"][0]["Entries"][0]["DetailType"] == "Candidate Refused"


def after_the_gate(execution: Execution) -> list[str]:
    return [state for state in execution.path if state not in TO_THE_GATE]


def test_the_careful_way_tries_asks_and_shadows_before_it_serves(careful: Execution) -> None:
    assert careful.status == "SUCCEEDED"
    assert after_the_gate(careful) == [*TRIED, *ASKED, *SHADOWED, *DEPLOYED]
    purposes = [careful.payload(state).get("purpose") for state in ("Deploy Trial Endpoint", "Shadow Champion")]
    assert purposes == ["trial", "shadow"]
    assert "purpose" not in careful.payload("Deploy Endpoint")
    assert careful.payload("Verify Trial Endpoint")["deployment"]["endpoint_name"] == examples.TRIAL.endpoint_name
    assert careful.sent["Remove Trial Endpoint"] == [{"EndpointName": examples.TRIAL.endpoint_name}]
    assert careful.payload("Verify Endpoint")["deployment"]["endpoint_name"] == examples.DEPLOYMENT.endpoint_name


@pytest.mark.parametrize(
    ("wanted", "way"),
    [
        ({"trial": True}, TRIED),
        ({"approval": True}, ASKED),
        ({"shadow": True}, SHADOWED),
        ({"trial": True, "approval": True}, TRIED + ASKED),
        ({"trial": True, "shadow": True}, TRIED + SHADOWED),
        ({"approval": True, "shadow": True}, ASKED + SHADOWED),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_each_precaution_is_taken_only_where_it_is_wanted(wanted: dict[str, bool], way: list[str]) -> None:
    rollout = examples.STRAIGHT.model_copy(update=wanted)
    execution = run("retrain", GIVEN, answers(champion=CHAMPION, rollout=rollout))
    assert after_the_gate(execution) == [*way, *DEPLOYED]


@pytest.mark.parametrize("shadow", [False, True])
def test_a_rejected_candidate_is_refused(shadow: bool) -> None:
    rollout = examples.STRAIGHT.model_copy(update={"approval": True, "shadow": shadow})
    rejected: dict[str, list[Answer]] = {"Wait For Approval": [examples.REJECTED.model_dump(mode="json")]}
    execution = run("retrain", GIVEN, answers(rollout=rollout, changes=rejected))
    assert execution.status == "SUCCEEDED"
    assert after_the_gate(execution) == [*ASKED, *REFUSED]


def test_silence_is_a_refusal(silence: Execution) -> None:
    assert silence.status == "SUCCEEDED"
    assert after_the_gate(silence) == [*TRIED, ASKED[0], "Nobody Answered", ASKED[1], *REFUSED]
    assert TASKS["Wait For Approval"]["TimeoutSeconds"] == WAIT.total_seconds()


def test_the_execution_outlasts_the_longest_wait_for_a_person() -> None:
    longest = TASKS["Wait For Approval"]["TimeoutSeconds"] + TASKS["Train Candidate"]["TimeoutSeconds"]
    deploying = sum(TASKS[state]["TimeoutSeconds"] for state in ("Deploy Trial Endpoint", "Deploy Endpoint"))
    assert RETRAIN["TimeoutSeconds"] > longest + deploying + LONGEST_SHADOW.total_seconds()


def test_a_refused_candidate_is_neither_tried_nor_asked_for() -> None:
    execution = run("retrain", GIVEN, answers(promote=False, champion=CHAMPION, rollout=CAREFUL))
    assert after_the_gate(execution) == REFUSED


def test_an_evaluation_that_says_neither_does_not_deploy() -> None:
    answer = answered(examples.evaluation())
    answer["Payload"]["outcome"] = "PERHAPS"
    execution = run("retrain", GIVEN, answers(changes={"Evaluate Model": [answer]}))
    assert execution.path[-1] == "Candidate Refused"


@pytest.mark.parametrize("error", ["Glue.AWSGlueException", "Glue.InternalServiceException"])
def test_glue_that_throttles_or_is_out_of_order_is_asked_again(error: str) -> None:
    answer = answers()["Preprocess Data"]
    execution = run("retrain", GIVEN, answers(changes={"Preprocess Data": [Raised(error), *answer]}))
    assert execution.status == "SUCCEEDED"


REFUSING = always("SageMaker.AmazonSageMakerException")


@pytest.fixture(scope="module")
def lost_answer() -> Execution:
    return run("retrain", GIVEN, answers(changes={"Create Model": REFUSING}))


def test_a_model_whose_answer_was_lost_is_found(lost_answer: Execution) -> None:
    assert lost_answer.status == "SUCCEEDED"
    made = lost_answer.path.index("Create Model")
    assert lost_answer.path[made + 1 : made + 4] == ["Find Model", "Is It The Model?", "Score Holdout"]
    assert lost_answer.sent["Find Model"] == [{"ModelName": examples.selection().model_name}]


@pytest.mark.parametrize(
    "found",
    [{**MADE, "PrimaryContainer": {"ModelDataUrl": "s3://artifacts/another.tar.gz"}}, {"ModelName": "m"}],
    ids=["another artifact", "no artifact"],
)
def test_somebody_elses_model_of_that_name_leaves_the_refusal(found: dict[str, Any]) -> None:
    execution = run("retrain", GIVEN, answers(changes={"Create Model": REFUSING, "Find Model": [found]}))
    assert execution.path[-3:] == FAILED
    assert execution.payload("Close Failed Run")["error"]["Error"] == "SageMaker.AmazonSageMakerException"


def test_a_refusal_that_left_no_model_stays_the_reason() -> None:
    nothing = always("SageMaker.SageMakerException")
    execution = run("retrain", GIVEN, answers(changes={"Create Model": REFUSING, "Find Model": nothing}))
    assert execution.path[-3:] == FAILED
    assert execution.payload("Close Failed Run")["error"]["Error"] == "SageMaker.AmazonSageMakerException"


AFTER_A_REFUSAL = "Find Model"
BEFORE_THE_END = [
    name
    for name in TASKS
    if name not in ("Close Failed Run", AFTER_A_REFUSAL, *DISPENSABLE) and not name.startswith("Announce ")
]


@pytest.mark.parametrize("state", BEFORE_THE_END)
def test_whatever_fails_the_run_is_closed_and_people_are_told(state: str) -> None:
    refuses = state == "Close Refused Run"
    broken = {state: always("SomethingBrokeError")}
    execution = run("retrain", GIVEN, answers(not refuses, changes=broken, rollout=rollout_with(state)))
    assert execution.status == "FAILED"
    assert execution.error == "RunFailed"
    assert "SomethingBrokeError" in str(execution.cause)
    assert execution.path[-3:] == FAILED
    closing = CloseRunRequest.model_validate(execution.payload("Close Failed Run"))
    assert closing.outcome is RunOutcome.FAILED
    assert closing.error is not None
    assert closing.error.error == "SomethingBrokeError"
    assert closing.error.cause


@pytest.mark.parametrize("promote", [True, False], ids=["deployed", "refused"])
@pytest.mark.parametrize("error", ["ObjectMissingError", "States.Timeout", "SomethingBrokeError"])
def test_a_report_that_cannot_be_written_changes_nothing_for_the_run(promote: bool, error: str) -> None:
    execution = run("retrain", GIVEN, answers(promote, changes={"Write Report": always(error)}))
    assert execution.status == "SUCCEEDED"
    assert execution.path == TO_THE_GATE + (DEPLOYED if promote else REFUSED)
    closing = CloseRunRequest.model_validate(execution.payload("Promote Champion" if promote else "Close Refused Run"))
    assert closing.error is None


@pytest.mark.parametrize("error", ["SageMaker.SageMakerException", "States.Timeout"])
def test_a_trial_endpoint_that_cannot_be_removed_changes_nothing_for_the_run(error: str) -> None:
    """A request that is made twice, for its first answer was lost, finds no endpoint any more."""
    changes = {"Remove Trial Endpoint": always(error)}
    execution = run("retrain", GIVEN, answers(changes=changes, rollout=rollout_with("Remove Trial Endpoint")))
    assert execution.status == "SUCCEEDED"
    removed = execution.path.index("Remove Trial Endpoint")
    assert execution.path[removed + 1] == "Is Approval Required?"


def test_a_failure_after_a_report_that_failed_is_told_by_its_own_error() -> None:
    broken = {"Write Report": always("States.Timeout"), "Register Model": always("Denied")}
    execution = run("retrain", GIVEN, answers(changes=broken))
    assert execution.error == "RunFailed"
    assert "Denied" in str(execution.cause)
    assert "States.Timeout" not in str(execution.cause)


@pytest.mark.parametrize("state", ["Announce Deployment", "Announce Refusal", "Announce Failure"])
def test_an_outcome_nobody_was_told_of_ends_in_a_failure(state: str) -> None:
    untold = {state: always("EventBridge.FailedEntry")} | (MISMATCH if state == "Announce Failure" else {})
    execution = run("retrain", GIVEN, answers(promote=state != "Announce Refusal", changes=untold))
    assert execution.status == "FAILED"
    assert execution.error == "PeopleNotTold"
    assert "EventBridge.FailedEntry" in str(execution.cause)


def test_a_run_that_cannot_be_closed_is_left_to_reconcile() -> None:
    broken = {"Create Model": always("Denied"), "Close Failed Run": always("StaleRunError")}
    execution = run("retrain", GIVEN, answers(changes=broken))
    assert execution.status == "FAILED"
    assert execution.path[-1] == "Run Not Closed"
    assert execution.error == "RunNotClosed"
    assert "StaleRunError" in str(execution.cause)


RETRIERS = [
    (name, error, number, retrier)
    for name, state in TASKS.items()
    for number, retrier in enumerate(state["Retry"])
    for error in retrier["ErrorEquals"][-1:]
]


@pytest.mark.parametrize(("state", "error", "number", "retrier"), RETRIERS, ids=[f"{s}-{e}" for s, e, _, _ in RETRIERS])
def test_a_busy_world_is_asked_again(state: str, error: str, number: int, retrier: dict[str, Any]) -> None:
    refuses, fails = "Refus" in state, state in ("Close Failed Run", "Announce Failure")
    lost = {"Create Model": REFUSING} if state == AFTER_A_REFUSAL else {}
    good = answers(promote=not refuses, changes=MISMATCH if fails else lost, rollout=rollout_with(state))
    busy = [Raised("Any.Other" if error == "States.TaskFailed" else error)] * retrier["MaxAttempts"]
    execution = run("retrain", GIVEN, {**good, state: [*busy, *good[state]]})
    assert execution.path[-1] == ("Candidate Refused" if refuses else "Run Failed" if fails else "Model Deployed")
    assert len(execution.sent[state]) == retrier["MaxAttempts"] + 1
    assert len(execution.waits) == retrier["MaxAttempts"] + sum(len(execution.sent[other]) - 1 for other in lost)
    assert all(wait <= retrier["MaxDelaySeconds"] for wait in execution.waits[-retrier["MaxAttempts"] :])


@pytest.mark.parametrize("state", ["Train Candidate", "Score Model"])
def test_a_job_tried_again_gets_a_new_name(state: str) -> None:
    good = answers()
    execution = run("retrain", GIVEN, {**good, state: [Raised("Any.Other"), *good[state]]})
    (field,) = (key for key in execution.sent[state][0] if key.endswith("JobName"))
    first, second = (sent[field] for sent in execution.sent[state])
    assert (first[-2:], second[-2:]) == ("-0", "-1")
    assert max(len(first), len(second)) <= 63


def test_what_the_caller_did_wrong_is_not_tried_again() -> None:
    execution = run("retrain", GIVEN, answers(changes={"Check Idempotency": [Raised("StaleRunError")]}))
    assert "StaleRunError" in str(execution.cause)
    assert execution.waits == []


def test_every_function_can_parse_what_it_is_sent(
    next_model: Execution, refusal: Execution, failure: Execution, careful: Execution
) -> None:
    sent_to = {}
    for execution in (next_model, refusal, failure, careful):
        for state in execution.sent:
            if function := function_of(TASKS[state]):
                sent_to[state] = function
                CONTRACTS[function][0].model_validate(execution.payload(state))
    assert sent_to.keys() == {name for name, state in TASKS.items() if function_of(state)}


def test_promotion_hands_over_all_that_was_learned(next_model: Execution) -> None:
    request = CloseRunRequest.model_validate(next_model.payload("Promote Champion"))
    assert request.outcome is RunOutcome.DEPLOYED
    planned = examples.plan(champion=CHAMPION)
    assert planned.preprocess is not None
    ran = planned.preprocess.model_copy(update={"job": GlueJobRun.model_validate(examples.PREPROCESSED)})
    assert request.plan == planned.model_copy(update={"preprocess": ran})
    assert request.selection == examples.selection(CHAMPION)
    assert request.evaluation == examples.evaluation()
    assert request.deployment == examples.DEPLOYMENT
    assert request.verification == examples.VERIFICATION
    assert request.model_package_arn == examples.PACKAGE_ARN


def test_every_other_service_gets_a_request_its_api_takes(
    next_model: Execution, refusal: Execution, failure: Execution, lost_answer: Execution, careful: Execution
) -> None:
    asked = set()
    for execution in (next_model, refusal, failure, lost_answer, careful):
        for state, sent in _service_calls(execution):
            asked.add(state)
            service, operation, _ = OPERATIONS[integration(TASKS[state])]
            model = ServiceModel(Loader().load_service_model(service, "service-2"))
            shape: Any = model.operation_model(operation).input_shape
            report = ParamValidator().validate(sent, shape)
            assert not report.has_errors(), f"{state}: {report.generate_report()}"
    assert asked == {name for name, state in TASKS.items() if not function_of(state)}


def _service_calls(execution: Execution) -> Iterator[tuple[str, Any]]:
    for state, calls in execution.sent.items():
        if function_of(TASKS[state]) is None:
            for call in calls:
                entries = [{**entry, "Detail": json.dumps(entry["Detail"])} for entry in call.get("Entries", ())]
                yield state, {**call, "Entries": entries} if entries else call


def test_everything_that_sagemaker_makes_carries_its_tags(next_model: Execution) -> None:
    tagged = [sent["Tags"] for calls in next_model.sent.values() for sent in calls if "Tags" in sent]
    assert len(tagged) == 4, "a training job, a model, two transform jobs"
    for tags in tagged:
        assert {"ratchet:pipeline", "ratchet:run", "ratchet:stage"} <= {tag["Key"] for tag in tags}
        assert [tag["Value"] for tag in tags][:2] == ["traffic", RUN.run_id]
    for state in ("Train Candidate", "Create Model"):
        values = {tag["Key"]: tag["Value"] for tag in next_model.sent[state][0]["Tags"]}
        assert values["ratchet:snapshot"] == examples.sha("a")
        assert values["ratchet:definition"] == examples.sha("b")


def test_every_state_is_on_a_tested_path(
    next_model: Execution,
    refusal: Execution,
    failure: Execution,
    lost_answer: Execution,
    careful: Execution,
    silence: Execution,
) -> None:
    elsewhere = {"Nothing To Do", "Run Not Closed", "People Not Told"}
    walked = (next_model, refusal, failure, lost_answer, careful, silence)
    seen = {name for execution in walked for name in execution.path} | elsewhere
    assert seen == {place.name for place in places(RETRAIN)}
