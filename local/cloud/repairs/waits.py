"""Speed: waits that stand for nothing on AWS."""

from ministack.services import eventbridge, lambda_svc, scheduler, stepfunctions

from local.cloud.repairs.patching import RepairError, edit


def apply() -> None:
    """Starts executions, batches and schedules when they are due; waits that mean something on AWS stay."""
    # Long enough for StartExecution's answer to leave first, as on AWS.
    edit(stepfunctions, "_run_execution", "(exec_arn)", "time.sleep(0.15)", "time.sleep(0.005)")
    if lambda_svc._ESM_IDLE_WAKE_GAP_SECONDS != 0.05:
        raise RepairError("MiniStack's event source poller waits differently now.")
    lambda_svc._ESM_IDLE_WAKE_GAP_SECONDS = 0.005
    if (eventbridge._SCHEDULER_TICK_INTERVAL, scheduler._SCHEDULE_TICK_INTERVAL) != (10, 10):
        raise RepairError("MiniStack's schedulers look at their schedules at other intervals now.")
    eventbridge._SCHEDULER_TICK_INTERVAL = scheduler._SCHEDULE_TICK_INTERVAL = 1
