"""The doorway: what every handler gets without asking."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ratchet.contracts.http import HttpAnswer, HttpRequest
from ratchet.contracts.starting import StartRunRequest, StartRunResult
from ratchet.contracts.states import CheckIdempotencyRequest
from ratchet.domain.errors import EventInvalidError
from ratchet.http_door import http_door
from ratchet.observability import business_keys, count, doorway, enter, logger
from tests.unit import samples
from tests.unit.lambda_context import Context

EVENT = {"pipeline": "traffic", "reason": "manual"}


class Case:
    built = 0

    def __init__(self) -> None:
        Case.built += 1

    def __call__(self, request: StartRunRequest) -> StartRunResult:
        return StartRunResult(started=True, because=f"{request.pipeline} by {type(self).__name__}")


class Other(Case):
    pass


@doorway(StartRunRequest, Case)
def handler(request: StartRunRequest, case: Case) -> StartRunResult:
    logger.info("decided")
    count("RunStarted", request.pipeline)
    return case(request)


def test_the_event_is_parsed_and_the_result_is_json() -> None:
    result = handler(EVENT, Context())
    assert result == {"started": True, "run_id": None, "because": "traffic by Case"}
    assert json.loads(json.dumps(result)) == result


def test_the_use_case_is_built_once_a_container_and_replaced_by_a_keyword() -> None:
    Case.built = 0

    @doorway(StartRunRequest, Case)
    def fresh(request: StartRunRequest, case: Case) -> StartRunResult:
        return case(request)

    assert Case.built == 0
    fresh(EVENT, Context())
    fresh(EVENT, Context())
    assert Case.built == 1
    assert fresh(EVENT, Context(), use_case=Other())["because"] == "traffic by Other"


def test_on_lambda_it_is_built_during_the_init_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "start-run")
    Case.built = 0
    doorway(StartRunRequest, Case)(lambda _request, _case: None)
    assert Case.built == 1


@pytest.mark.parametrize(
    ("event", "named"),
    [
        ({"reason": "manual"}, "pipeline: Field required"),
        ({**EVENT, "forced": "perhaps"}, "forced: Input should be a valid boolean"),
        ({**EVENT, "extra": 1}, "extra: Extra inputs are not permitted"),
        ([], "the event itself: "),
    ],
)
def test_a_wrong_event_names_its_field(event: Any, named: str) -> None:
    with pytest.raises(EventInvalidError, match=named):
        handler(event, Context())


def test_a_nested_field_is_named_by_its_path() -> None:
    @doorway(CheckIdempotencyRequest, Case)
    def nested(request: CheckIdempotencyRequest, case: Case) -> None: ...

    event = {"run": samples.run().model_dump(exclude={"fence"}), "execution_arn": "arn"}
    with pytest.raises(EventInvalidError, match=r"run\.fence: Field required"):
        nested(event, Context())


def test_every_log_line_carries_the_business_keys() -> None:
    request = CheckIdempotencyRequest(run=samples.run(), execution_arn="arn")
    assert dict(business_keys(request)) == {
        "execution_arn": "arn",
        "pipeline": "traffic",
        "run_id": "traffic-g1",
        "reason": "upload",
    }


def test_keys_of_one_invocation_do_not_leak_into_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    handler(EVENT, Context())
    handler({"pipeline": "flights", "reason": "upload"}, Context())
    keys = logger.get_current_keys()
    assert (keys["pipeline"], keys["reason"]) == ("flights", "upload")


def test_outcomes_are_counted_by_pipeline(capsys: pytest.CaptureFixture[str]) -> None:
    handler(EVENT, Context())
    blobs = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith('{"_aws"')]
    counted = next(blob for blob in blobs if "RunStarted" in blob)
    assert (counted["pipeline"], counted["RunStarted"]) == ("traffic", [1.0])
    assert counted["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Ratchet"


@pytest.mark.parametrize("library", ["botocore.credentials", "aws_xray_sdk.core.patcher"])
def test_a_cold_start_logs_none_of_the_libraries_footsteps(library: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):  # of the root logger, as Lambda sets it
        assert not logging.getLogger(library).isEnabledFor(logging.INFO)


class Hurried(Context):
    """An invocation that had ten seconds and has two when it ends."""

    def __init__(self) -> None:
        super().__init__()
        self._left = iter((10_000, 2_000))

    def get_remaining_time_in_millis(self) -> int:  # type: ignore[override]
        return next(self._left)


@http_door(lambda: None)
def route(request: HttpRequest, _nothing: None) -> HttpAnswer:
    return HttpAnswer(status=200, body={"caller": request.caller})


def call_route(context: Context) -> None:
    given = json.loads((Path(__file__).parents[2] / "events/predict/ok.json").read_text())
    assert route(given, context)["statusCode"] == 200


@pytest.mark.parametrize("invoke", [lambda context: handler(EVENT, context), call_route], ids=["event", "route"])
def test_an_invocation_that_nearly_ran_out_of_time_is_measured(
    invoke: Callable[[Context], object], capsys: pytest.CaptureFixture[str]
) -> None:
    invoke(Hurried())
    invoke(Context())
    blobs = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "TimeUsed" in line]
    assert [blob["TimeUsed"] for blob in blobs] == [[80.0]]
    assert blobs[0]["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]]


def test_only_invocations_that_are_sampled_pay_for_tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    traced: list[str] = []

    class FakeTracer:
        def __init__(self, **_: Any) -> None:
            traced.append("made")

        def capture_lambda_handler(self, body: Any, **_: Any) -> Any:
            def entered(event: Any, context: Any, **injected: Any) -> Any:
                traced.append("traced")
                return body(event, context, **injected)

            return entered

    monkeypatch.setattr("ratchet.observability.Tracer", FakeTracer)
    entered = enter(lambda event, context: event["pipeline"])
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0")
    assert entered(EVENT, Context()) == "traffic"
    assert traced == []
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1")
    assert [entered(EVENT, Context()), entered(EVENT, Context())] == ["traffic", "traffic"]
    assert traced == ["made", "traced", "traced"]


def test_a_cold_start_does_not_import_the_tracing_library() -> None:
    code = "import sys, ratchet.observability; print([name for name in sys.modules if 'aws_xray_sdk.core' in name])"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment())
    assert ran.stdout.strip() == "[]"


def environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2] / "layers/core")}
