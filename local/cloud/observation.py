"""Puts the recorder of `local.cloud.recording` behind every decision of the policy engine on a role's own policies."""

import threading
from typing import Any

from ministack.core import iam_evaluator

from local.cloud.recording import Recorder
from local.cloud.repairs.patching import Function, replace
from local.cloud.settings import CloudSettings

_EVALUATE = (
    "(ctx: ministack.core.iam_evaluator.EvalContext, "
    "policies: list[list[ministack.core.iam_evaluator.ParsedStatement]], "
    "*limits: list[list[ministack.core.iam_evaluator.ParsedStatement]]) -> ministack.core.iam_evaluator.EvalResult"
)
_EVALUATE_RESOURCE = (
    "(doc: str | dict | None, ctx: ministack.core.iam_evaluator.EvalContext, service: str | None = None, "
    "named_only: bool = False, direct_only: bool = False) -> ministack.core.iam_evaluator.EvalResult"
)


def apply(settings: CloudSettings) -> None:
    """Wraps the engine; a start keeps what was recorded before it."""
    recorder = Recorder(settings.calls_file)
    within = threading.local()  # a resource's policy is asked through the same engine
    replace(iam_evaluator, "evaluate", _EVALUATE, lambda original: _observed(recorder, within, original))
    replace(iam_evaluator, "evaluate_resource_policy", _EVALUATE_RESOURCE, lambda original: _apart(within, original))


def _observed(recorder: Recorder, within: threading.local, evaluate: Function) -> Function:
    def observed(ctx: Any, policies: Any, *limits: Any) -> Any:
        result = evaluate(ctx, policies, *limits)
        if not getattr(within, "resource_policy", False):
            recorder(ctx, result.decision == "Allow")
        return result

    return observed


def _apart(within: threading.local, evaluate: Function) -> Function:
    def apart(*request: Any, **options: Any) -> Any:
        within.resource_policy = True
        try:
            return evaluate(*request, **options)
        finally:
            within.resource_policy = False

    return apart
