"""Finds what lost events left lying about, every five minutes and whenever a retrain execution fails."""

from ratchet.adapters.clock import utc_now
from ratchet.adapters.dynamodb_ledger import DynamoDbLedger
from ratchet.adapters.event_bus import EventBus
from ratchet.adapters.run_jobs import RunJobs
from ratchet.adapters.run_schedule import RunSchedule
from ratchet.adapters.s3_store import S3Store
from ratchet.adapters.sagemaker_endpoints import SageMakerEndpoints
from ratchet.adapters.step_functions import StepFunctions
from ratchet.contracts.aws_events import ExecutionStatusEvent
from ratchet.contracts.reconcile import ReconcileReport, ScheduleEvent
from ratchet.domain.closing import CloseRun
from ratchet.domain.questions import Questions
from ratchet.domain.reconciliation import Reconcile
from ratchet.domain.resuming import ResumeDeployment
from ratchet.domain.starting import StartRun
from ratchet.observability import alarm, doorway, logger
from ratchet.settings import ReconcileSettings


def build() -> Reconcile:
    """The use case over AWS."""
    settings = ReconcileSettings.load()
    ledger, endpoints = DynamoDbLedger(settings.ledger_table_name), SageMakerEndpoints()
    workflow = StepFunctions(settings.retrain_state_machine_arn, settings.ingest_state_machine_arn)
    start_run = StartRun(ledger, workflow, utc_now)
    jobs = RunJobs(settings.resource_prefix, settings.preprocess_job_name)
    schedule = RunSchedule(*settings.schedule)
    return Reconcile(
        ask=Questions(
            ledger, S3Store(), workflow, endpoints, utc_now, settings.data_bucket_name, settings.resource_prefix
        ),
        publisher=EventBus(settings.event_bus_name),
        start_run=start_run,
        close_run=CloseRun(ledger, endpoints, start_run, utc_now, settings.resource_prefix, jobs, schedule),
        resume_deployment=ResumeDeployment(ledger, endpoints, workflow, utc_now, settings.resource_prefix),
    )


@doorway(ExecutionStatusEvent | ScheduleEvent, build)
def handler(event: ExecutionStatusEvent | ScheduleEvent, reconcile: Reconcile) -> ReconcileReport:
    """Looks after every pipeline, or the one whose execution failed."""
    report = reconcile(event.pipeline)
    logger.info("reconciled", **report.model_dump(exclude_defaults=True))
    alarm("WorkStalled", len(report.stalled))
    return report
