"""How a run is ended."""

from ratchet.contracts.base import Contract
from ratchet.contracts.run import (
    Announcement,
    DeploymentResult,
    Evaluation,
    Run,
    RunOutcome,
    RunPlan,
    Selection,
    TaskError,
    Verification,
)


class CloseRunRequest(Contract):
    """Ends a run: promotes under the fence, records, releases the pipeline, starts the next run if there is work."""

    run: Run
    execution_arn: str
    outcome: RunOutcome
    plan: RunPlan | None = None
    selection: Selection | None = None
    evaluation: Evaluation | None = None
    deployment: DeploymentResult | None = None
    verification: Verification | None = None
    model_package_arn: str | None = None
    error: TaskError | None = None


class CloseRunResult(Contract):
    """How the run was closed."""

    outcome: RunOutcome
    kind: str  # the announcement's detail-type
    stalled: bool = False  # it failed for the last time: nobody tries again
    announcement: Announcement
    next_run_id: str | None = None
