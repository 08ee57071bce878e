"""The corpus of events/ feeds `sam local invoke`, tests and documentation: every one of them parses."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from ratchet.contracts.approval import RequestApprovalRequest
from ratchet.contracts.aws_events import EndpointStateEvent, ExecutionStatusEvent
from ratchet.contracts.cleanup import CleanupRequest
from ratchet.contracts.closing import CloseRunRequest
from ratchet.contracts.http import HttpRequest
from ratchet.contracts.ingest import ObjectCreatedEvent
from ratchet.contracts.notify import AlarmEvent, AnnouncementEvent
from ratchet.contracts.reconcile import ScheduleEvent
from ratchet.contracts.report import RunEndedEvent, WriteReportRequest
from ratchet.contracts.score import QueueEvent
from ratchet.contracts.starting import RunRequestedEvent, StartRunRequest
from ratchet.contracts.states import (
    CheckIdempotencyRequest,
    CompareShadowRequest,
    DeployEndpointRequest,
    EvaluateModelRequest,
    SelectCandidateRequest,
    VerifyEndpointRequest,
)
from ratchet.domain.errors import EventInvalidError
from ratchet.observability import parse

ROOT = Path(__file__).parents[2]
REQUESTS: dict[str, Any] = {
    "validate_data": ObjectCreatedEvent,
    "start_run": RunRequestedEvent | StartRunRequest,
    "check_idempotency": CheckIdempotencyRequest,
    "select_candidate": SelectCandidateRequest,
    "evaluate_model": EvaluateModelRequest,
    "write_report": RunEndedEvent | WriteReportRequest,
    "deploy_endpoint": DeployEndpointRequest,
    "resume_deployment": EndpointStateEvent,
    "verify_endpoint": VerifyEndpointRequest,
    "close_run": CloseRunRequest,
    "reconcile": ExecutionStatusEvent | ScheduleEvent,
    "notify": AlarmEvent | AnnouncementEvent,
    "cleanup_endpoints": CleanupRequest,
    "predict": HttpRequest,
    "score_upload": QueueEvent,
    "record_approval": HttpRequest,
    "request_approval": RequestApprovalRequest,
    "compare_shadow": CompareShadowRequest,
}
EVENTS = [path for path in sorted((ROOT / "events").glob("*/*.json")) if path.parent.name in REQUESTS]


def adapter(path: Path) -> TypeAdapter[Any]:
    return TypeAdapter(REQUESTS[path.parent.name])


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def test_every_function_has_events_and_a_contract() -> None:
    functions = {path.parent.name for path in (ROOT / "functions").glob("*/app.py")}
    assert functions == set(REQUESTS)
    assert functions == {path.parent.name for path in EVENTS}


@pytest.mark.parametrize("path", [p for p in EVENTS if not p.stem.startswith("invalid_")], ids=name)
def test_an_event_parses(path: Path) -> None:
    parse(adapter(path), json.loads(path.read_text()))


@pytest.mark.parametrize("path", [p for p in EVENTS if p.stem.startswith("invalid_")], ids=name)
def test_an_invalid_event_is_refused(path: Path) -> None:
    with pytest.raises(EventInvalidError):
        parse(adapter(path), json.loads(path.read_text()))


def test_a_failed_execution_is_not_taken_for_the_schedule() -> None:
    path = ROOT / "events/reconcile/execution_failed.json"
    assert parse(adapter(path), json.loads(path.read_text())).pipeline == "traffic"
