"""Rules of our own for the workflows: each returns its findings, and each finding says the fix."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from ratchet.contracts.ingest import ObjectCreatedEvent
from ratchet.contracts.run import Run
from ratchet.domain import errors
from tests.statemachine import shapes
from tests.statemachine.definitions import (
    CONTRACTS,
    Machine,
    State,
    function_of,
    horizon,
    integration,
    next_states,
    places,
    tasks,
)
from tests.statemachine.shapes import ANY, Reference, Shape

Rule = Callable[[Machine], Iterator[str]]

# What a run, or an event, is when the execution starts.
INPUTS: dict[str, Shape] = {
    "ingest": shapes.of_model(ObjectCreatedEvent),
    "validate_large": shapes.of_model(ObjectCreatedEvent),
    "retrain": {"run": shapes.of_model(Run)},
}

# Names that AWS gives to errors: States.* of the language, Lambda.* of the docs on transient Lambda errors, the rest by
# service: the generic exception of its SDK, which throttling comes as, and its own.
AWS_ERRORS = {
    "States.ALL",
    "States.TaskFailed",
    "States.Timeout",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
    "Glue.AWSGlueException",
    "Glue.ConcurrentRunsExceededException",
    "Glue.InternalServiceException",
    "Glue.OperationTimeoutException",
    "Glue.ResourceNumberLimitExceededException",
    "SageMaker.AmazonSageMakerException",
    "SageMaker.SageMakerException",
    "SageMaker.ResourceLimitExceededException",
}
OUR_ERRORS = {
    name: error
    for name, error in vars(errors).items()
    if isinstance(error, type) and issubclass(error, errors.RatchetError)
}

# Integration -> (botocore service, operation called, operation whose answer the Task returns).
OPERATIONS = {
    "glue:startJobRun.sync": ("glue", "StartJobRun", "GetJobRun"),
    "sagemaker:createTrainingJob.sync": ("sagemaker", "CreateTrainingJob", "DescribeTrainingJob"),
    "sagemaker:createTransformJob.sync": ("sagemaker", "CreateTransformJob", "DescribeTransformJob"),
    "sagemaker:createModel": ("sagemaker", "CreateModel", "CreateModel"),
    "aws-sdk:sagemaker:describeModel": ("sagemaker", "DescribeModel", "DescribeModel"),
    "aws-sdk:sagemaker:deleteEndpoint": ("sagemaker", "DeleteEndpoint", "DeleteEndpoint"),
    "aws-sdk:sagemaker:createModelPackage": ("sagemaker", "CreateModelPackage", "CreateModelPackage"),
    "states:startExecution": ("stepfunctions", "StartExecution", "StartExecution"),
    "events:putEvents": ("events", "PutEvents", "PutEvents"),
    "sqs:sendMessage": ("sqs", "SendMessage", "SendMessage"),
}

# The run goes on without them: one tells people something beside the work, one tidies what the run's close tidies too.
DISPENSABLE = {"Write Report", "Remove Trial Endpoint"}

CONTEXT: Shape = {
    "Execution": {"Id": {}, "Input": ANY, "Name": {}, "StartTime": {}},
    "State": {"Name": {}, "EnteredTime": {}, "RetryCount": {}},
    "Task": {"Token": {}},
}


def targets_exist(definition: Machine) -> Iterator[str]:
    """StartAt, Next, Default and Catch name states of the same machine, or of the same Map."""
    for part in _parts(definition):
        known = part["States"]
        for origin, target in [("StartAt", part["StartAt"])] + [
            (name, target) for name, state in known.items() for target in next_states(state)
        ]:
            if target not in known:
                yield f"{origin} goes to {target!r}, which is no state here: correct the name or add the state"


def states_are_reachable(definition: Machine) -> Iterator[str]:
    """No state is left over."""
    for part in _parts(definition):
        seen: set[str] = set()
        waiting = [part["StartAt"]]
        while waiting:
            name = waiting.pop()
            if name not in seen and name in part["States"]:
                seen.add(name)
                waiting.extend(next_states(part["States"][name]))
        for name in part["States"].keys() - seen:
            yield f"{name} is never reached: delete it or lead a state to it"


def paths_end_in_outcomes(definition: Machine) -> Iterator[str]:
    """A path ends in Succeed or Fail; what a Catch leads to ends in Fail, unless the work can do without the state.

    What one named error leads to may go on where nothing failed, once a Choice has looked whether anything did.
    """
    for name, state in definition["States"].items():
        if "End" in state:
            yield f"{name} ends the execution without naming the outcome: lead it to a Succeed or Fail state"
    waiting = [
        (catch["Next"], "States.ALL" in catch["ErrorEquals"])
        for place in places(definition)
        if place.name not in DISPENSABLE
        for catch in place.state.get("Catch", ())
    ]
    seen, well = set(), _reached_without_failure(definition)
    while waiting:
        name, failed = waiting.pop()
        if (name, failed) in seen or name not in definition["States"]:
            continue
        seen.add((name, failed))
        state = definition["States"][name]
        if state["Type"] == "Succeed":
            yield f"{name} ends well after a failure: lead the failure to a Fail state"
        if not failed and name in well and state["Type"] != "Choice":
            yield f"{name} goes on after an error that no Choice looked at: lead the error to a Choice first"
        if failed or state["Type"] != "Choice":
            waiting.extend((target, failed) for target in next_states(state))


def _reached_without_failure(definition: Machine) -> set[str]:
    seen: set[str] = set()
    waiting = [definition["StartAt"]]
    while waiting:
        name = waiting.pop()
        if name not in seen and name in definition["States"]:
            seen.add(name)
            waiting.extend(next_states({**definition["States"][name], "Catch": ()}))
    return seen


def tasks_say_how_long(definition: Machine) -> Iterator[str]:
    """Every Task has TimeoutSeconds."""
    for place in tasks(definition):
        if not isinstance(place.state.get("TimeoutSeconds"), int):
            yield f"{place.name} may hang for a year: give it TimeoutSeconds"


def tasks_say_when_again(definition: Machine) -> Iterator[str]:
    """Every Task retries with full jitter and a cap, and its comment states the whole horizon."""
    for place in tasks(definition):
        if not place.state.get("Retry"):
            yield f"{place.name} gives up at the first throttle: give it Retry"
        for retrier in place.state.get("Retry", ()):
            if retrier.get("JitterStrategy") != "FULL" or "MaxDelaySeconds" not in retrier:
                yield f"{place.name} retries in step with others: set JitterStrategy FULL and MaxDelaySeconds"
            elif f"within {horizon(retrier)} s" not in retrier.get("Comment", ""):
                yield f"{place.name} retries for {horizon(retrier)} s: say 'within {horizon(retrier)} s' in its Comment"


def tasks_say_where_else(definition: Machine) -> Iterator[str]:
    """Every Task, or the Map around it, catches States.ALL, and the error stands beside the state it had."""
    by_name = {place.name: place.state for place in places(definition)}
    for place in tasks(definition):
        catcher = by_name[place.inside] if place.inside else place.state
        for catch in catcher.get("Catch", ()):
            if not re.fullmatch(r"\$\.(\w+_)?error", catch.get("ResultPath") or ""):
                yield f"{place.name} loses the state when it fails: set its Catch's ResultPath to $.error"
        if not any("States.ALL" in catch["ErrorEquals"] for catch in catcher.get("Catch", ())):
            yield f"{place.name} fails the execution without a word: catch States.ALL"


def errors_have_names(definition: Machine) -> Iterator[str]:
    """Whatever Retry and Catch match exists; what the caller did wrong is never retried."""
    for place in places(definition):
        for kind in ("Retry", "Catch"):
            for matcher in place.state.get(kind, ()):
                for name in matcher["ErrorEquals"]:
                    if name not in AWS_ERRORS and name not in OUR_ERRORS:
                        yield f"{place.name}: {name} is no error of ours or of AWS: correct it, or add it to AWS_ERRORS"
                    elif kind == "Retry" and issubclass(OUR_ERRORS.get(name, Exception), errors.CallerError):
                        yield f"{place.name} retries {name}, which will fail again: remove it from Retry"


def names_read_well(definition: Machine) -> Iterator[str]:
    """Title Case; a Choice is a question, nothing else is."""
    for place in places(definition):
        if not re.fullmatch(r"[A-Z][a-z]*(?: [A-Z][a-z]*)*\??", place.name):
            yield f"{place.name!r} is not in Title Case: rename it"
        if (place.state["Type"] == "Choice") != place.name.endswith("?"):
            yield f"{place.name!r}: a Choice is a question and only a Choice is: rename it"


def choices_have_defaults(definition: Machine) -> Iterator[str]:
    """A value nobody thought of must not end in States.Runtime, which no Catch sees."""
    for place in places(definition):
        if place.state["Type"] == "Choice" and "Default" not in place.state:
            yield f"{place.name} has no answer to an unknown value: give it a Default"


def inputs_are_explicit(definition: Machine) -> Iterator[str]:
    """Every Task states its input and where its result goes."""
    for place in tasks(definition):
        if "Parameters" not in place.state:
            yield f"{place.name} passes its whole state on: give it Parameters"
        if "ResultPath" not in place.state and place.inside is None:
            yield f"{place.name} replaces the state by its result: give it ResultPath"


def payloads_fit_contracts(definition: Machine) -> Iterator[str]:
    """A Lambda's Payload has the fields of its request; its ResultSelector keeps only fields of its result."""
    for place in tasks(definition):
        function = function_of(place.state)
        if function is None:
            continue
        request, result = CONTRACTS[function]
        payload = place.state["Parameters"].get("Payload")
        if payload is not None:
            sent = {key.removesuffix(".$") for key in payload}
            required = {name for name, field in request.model_fields.items() if field.is_required()}
            for name in sent - request.model_fields.keys():
                yield f"{place.name} sends {name}, which {request.__name__} lacks: remove it or add it there"
            for name in required - sent:
                yield f"{place.name} does not send {name}, which {request.__name__} requires: add it to Payload"
        for key in place.state.get("ResultSelector", ()):
            if key.removesuffix(".$") not in result.model_fields:
                yield f"{place.name} keeps {key}, which {result.__name__} lacks: remove it from ResultSelector"


def results_arrive_whole(definition: Machine) -> Iterator[str]:
    """What a later Task passes on as a whole has every field that its contract has."""
    passed_on = {
        str(value)
        for place in tasks(definition)
        for key, value in (place.state["Parameters"].get("Payload") or {}).items()
        if key.endswith(".$")
    }
    for place in tasks(definition):
        function = function_of(place.state)
        if function is None or place.state.get("ResultPath") not in passed_on or "ResultSelector" not in place.state:
            continue
        kept = {key.removesuffix(".$") for key in place.state["ResultSelector"]}
        for name in CONTRACTS[function][1].model_fields.keys() - kept:
            yield f"{place.name} drops {name} of its answer, which a later function reads: add it to ResultSelector"


def parameters_fit_operations(definition: Machine) -> Iterator[str]:
    """The other integrations get parameters their operation knows, the required ones included."""
    for place in tasks(definition):
        if function_of(place.state) is not None:
            continue
        service, operation, _ = OPERATIONS[integration(place.state)]
        known, required = shapes.input_fields(service, operation)
        sent = {key.removesuffix(".$") for key in place.state["Parameters"]}
        for name in sent - known:
            yield f"{place.name} sends {name}, which {operation} does not know: correct the name"
        for name in required - sent:
            yield f"{place.name} does not send {name}, which {operation} requires: add it to Parameters"


def answers_are_certain(definition: Machine) -> Iterator[str]:
    """A ResultSelector reads only what the operation always answers: AWS leaves out what it has no value for."""
    for place in tasks(definition):
        if function_of(place.state) is not None:
            continue
        service, _, answered = OPERATIONS[integration(place.state)]
        for expression in place.state.get("ResultSelector", {}).values():
            for reference in shapes.references(expression):
                if not shapes.is_certain(service, answered, reference.fields):
                    yield f"{place.name} selects {reference}, which {answered} may leave out: look whether it is there"


def paths_were_written(definition: Machine, start: Shape) -> Iterator[str]:
    """Every JSONPath a state reads was in the input or written before it, on every way to the state.

    On AWS a path that is not there is a States.Runtime error, which no Retry and no Catch sees.
    """
    arriving: dict[str, Shape] = {definition["StartAt"]: start}
    for name in _in_order(definition):
        if name not in arriving:
            continue
        state, before = definition["States"][name], arriving[name]
        yield from _unwritten(name, state, before)
        after = _after(state, before)
        for target in next_states({key: value for key, value in state.items() if key != "Catch"}):
            arriving[target] = shapes.common(arriving.get(target, ANY), after)
        for catch in state.get("Catch", ()):
            (reference,) = shapes.references(catch["ResultPath"])
            caught = _placed(before, reference.fields, {"Error": {}, "Cause": {}})
            arriving[catch["Next"]] = shapes.common(arriving.get(catch["Next"], ANY), caught)


def _unwritten(name: str, state: State, before: Shape) -> Iterator[str]:
    for reference in _reads(state):
        if shapes.resolve(CONTEXT if reference.root == "$$" else before, reference.fields) is None:
            yield f"{name} reads {reference}, which is not there on every way to it: write it before, or do not read it"
    for key, expression in state.get("ResultSelector", {}).items():
        for reference in shapes.references(expression):
            if key.endswith(".$") and shapes.resolve(_raw_result(state, before), reference.fields) is None:
                yield f"{name} selects {reference}, which its resource does not answer: correct the path"
    if state["Type"] == "Map":
        item = {key.removesuffix(".$"): _item(before, state, value) for key, value in state["ItemSelector"].items()}
        yield from (f"{name}: {finding}" for finding in paths_were_written(state["ItemProcessor"], item))


def _item(before: Shape, state: State, expression: str) -> Any:
    """What one iteration gets under a key of ItemSelector."""
    if expression == "$$.Map.Item.Value":
        (path,) = shapes.references(state["ItemsPath"])
        items = shapes.resolve(before, path.fields)
        return items[0] if isinstance(items, list) else None
    (path,) = shapes.references(expression)
    return shapes.resolve(before, path.fields)


def _reads(state: State) -> Iterator[Reference]:
    """Every path a state reads of its input or of the context object."""
    for field in ("InputPath", "ItemsPath", "SecondsPath", "ErrorPath", "CausePath", "OutputPath"):
        if field in state:
            yield from shapes.references(state[field])
    for rule in state.get("Choices", ()):
        for choice in rule.get("And", [rule]):
            for field in ("Variable", "StringEqualsPath"):
                yield from shapes.references(choice.get(field, ""))
    for template in (state.get("Parameters"), state.get("ItemSelector")):
        for expression in _dynamic(template):
            if expression != "$$.Map.Item.Value":
                yield from shapes.references(expression)


def _dynamic(template: Any) -> Iterator[str]:
    """The expressions of a payload template: the values of keys ending in `.$`."""
    if isinstance(template, dict):
        for key, value in template.items():
            if key.endswith(".$"):
                yield value
            else:
                yield from _dynamic(value)
    elif isinstance(template, list):
        for value in template:
            yield from _dynamic(value)


def _raw_result(state: State, before: Shape) -> Shape:
    """What a Task's resource answers, before ResultSelector."""
    if state["Type"] != "Task":
        return ANY
    function = function_of(state)
    if function is None:
        service, _, answered = OPERATIONS[integration(state)]
        return shapes.of_output(service, answered)
    answer = shapes.of_model(CONTRACTS[function][1])
    return answer if integration(state).endswith(".waitForTaskToken") else {"Payload": answer, "StatusCode": {}}


def _after(state: State, before: Shape) -> Shape:
    """What a state passes on."""
    path = state.get("ResultPath", "$")
    if path is None or state["Type"] not in ("Task", "Map", "Pass"):
        return before
    if state["Type"] == "Map":
        last = next(reversed(state["ItemProcessor"]["States"].values()))
        result: Any = [_selected(last, {})]
    elif state["Type"] == "Pass":
        result = state["Result"]
    else:
        result = _selected(state, before)
    (reference,) = shapes.references(path)
    placed: Shape = _placed(before, reference.fields, result)
    return placed


def _placed(before: Shape, fields: tuple[str, ...], result: Any) -> Any:
    """The shape with the result at a path, whatever stands beside it left there."""
    if not fields:
        return result
    inner = before.get(fields[0], {})
    return {**before, fields[0]: _placed(inner if isinstance(inner, dict) else {}, fields[1:], result)}


def _selected(state: State, before: Shape) -> Shape:
    raw = _raw_result(state, before)
    selector = state.get("ResultSelector")
    if selector is None:
        return raw
    return {key.removesuffix(".$"): _one(raw, value) for key, value in selector.items()}


def _one(raw: Shape, expression: str) -> Any:
    (reference,) = shapes.references(expression)
    return shapes.resolve(raw, reference.fields) or {}


def _parts(definition: Machine) -> Iterator[Machine]:
    """The machine and every Map's own little machine."""
    yield definition
    for place in places(definition):
        if place.state["Type"] == "Map":
            yield place.state["ItemProcessor"]


def _in_order(definition: Machine) -> list[str]:
    """The states in an order in which every state comes after all that lead to it; the workflows have no loops."""
    order: list[str] = []
    done: set[str] = set()

    def visit(name: str) -> None:
        if name in done or name not in definition["States"]:
            return
        done.add(name)
        for target in next_states(definition["States"][name]):
            visit(target)
        order.append(name)

    visit(definition["StartAt"])
    return order[::-1]


def longest_way(definition: Machine) -> int:
    """Seconds the slowest way through the machine takes, every Task using all its attempts, waits and time."""
    longest: dict[str, int] = {}
    for name in reversed(_in_order(definition)):
        state = definition["States"][name]
        spent = 0
        if state["Type"] == "Task":
            attempts = 1 + sum(retrier["MaxAttempts"] for retrier in state["Retry"])
            spent = attempts * state["TimeoutSeconds"] + sum(horizon(retrier) for retrier in state["Retry"])
        longest[name] = spent + max((longest.get(target, 0) for target in next_states(state)), default=0)
    return longest[definition["StartAt"]]


RULES: tuple[Rule, ...] = (
    targets_exist,
    states_are_reachable,
    paths_end_in_outcomes,
    tasks_say_how_long,
    tasks_say_when_again,
    tasks_say_where_else,
    errors_have_names,
    names_read_well,
    choices_have_defaults,
    inputs_are_explicit,
    payloads_fit_contracts,
    answers_are_certain,
    results_arrive_whole,
    parameters_fit_operations,
)
