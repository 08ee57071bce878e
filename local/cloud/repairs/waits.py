"""Speed: waits that stand for nothing on AWS."""

from ministack.services import lambda_svc, stepfunctions

from local.cloud.repairs.patching import RepairError, edit


def apply() -> None:
    """Starts executions and event source batches at once; every wait with a meaning on AWS stays as it is."""
    # Long enough for StartExecution's answer to leave first, as on AWS.
    edit(stepfunctions, "_run_execution", "(exec_arn)", "time.sleep(0.15)", "time.sleep(0.005)")
    if lambda_svc._ESM_IDLE_WAKE_GAP_SECONDS != 0.05:
        raise RepairError("MiniStack's event source poller waits differently now.")
    lambda_svc._ESM_IDLE_WAKE_GAP_SECONDS = 0.005
