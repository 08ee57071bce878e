"""Puts the recorder of `local.cloud.recording` behind every decision of the policy engine."""

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


def apply(settings: CloudSettings) -> None:
    """Wraps the engine; a start keeps what was recorded before it."""
    recorder = Recorder(settings.calls_file)
    replace(iam_evaluator, "evaluate", _EVALUATE, lambda original: _observed(recorder, original))


def _observed(recorder: Recorder, evaluate: Function) -> Function:
    def observed(ctx: Any, policies: Any, *limits: Any) -> Any:
        result = evaluate(ctx, policies, *limits)
        recorder(ctx, result.decision == "Allow")
        return result

    return observed
