"""The environment, typed: each function states only what it needs, and a missing variable fails its cold start."""

import os
from typing import Self, get_type_hints

from ratchet.domain.errors import SettingsMissingError


def on_lambda() -> bool:
    """Whether this process is a Lambda function's, rather than a test's or a command's."""
    return "AWS_LAMBDA_FUNCTION_NAME" in os.environ


def trace_is_sampled() -> bool:
    """Whether X-Ray keeps a trace of this very invocation; Lambda says so anew for each."""
    return "Sampled=1" in os.environ.get("_X_AMZN_TRACE_ID", "")


class Settings:
    """Field `ledger_table_name` is read from the variable LEDGER_TABLE_NAME.

    Text and whole numbers: pydantic would make a model for each function at every cold start of any.
    """

    @classmethod
    def fields(cls) -> dict[str, type[str] | type[int]]:
        """Every setting with its type."""
        return get_type_hints(cls)

    @classmethod
    def load(cls) -> Self:
        """Reads the environment; SettingsMissingError names every variable that is absent or empty, or is no number."""
        settings, missing = cls(), []
        for name, kind in cls.fields().items():
            value = os.environ.get(name.upper(), "")
            if not value or (kind is int and not value.isdecimal()):
                missing.append(name.upper())
            else:
                setattr(settings, name, kind(value))
        if missing:
            raise SettingsMissingError(f"set {', '.join(missing)} in the function's environment (template.yaml)")
        return settings


class ValidateDataSettings(Settings):
    """validate_data"""

    ledger_table_name: str
    large_upload_bytes: int
    validate_large_state_machine_arn: str
    aws_lambda_function_memory_size: int  # MB; Lambda sets it


class StartRunSettings(Settings):
    """start_run"""

    ledger_table_name: str
    retrain_state_machine_arn: str


class CheckIdempotencySettings(Settings):
    """check_idempotency"""

    ledger_table_name: str
    artifacts_bucket_name: str
    resource_prefix: str
    retrain_state_machine_arn: str


class SelectCandidateSettings(Settings):
    """select_candidate"""

    ledger_table_name: str
    artifacts_bucket_name: str
    resource_prefix: str


class EvaluateModelSettings(Settings):
    """evaluate_model"""

    ledger_table_name: str
    artifacts_bucket_name: str


class WriteReportSettings(Settings):
    """write_report"""

    ledger_table_name: str
    artifacts_bucket_name: str


class DeployEndpointSettings(Settings):
    """deploy_endpoint"""

    ledger_table_name: str
    artifacts_bucket_name: str
    resource_prefix: str
    stage: str
    retrain_state_machine_arn: str


class ResumeDeploymentSettings(Settings):
    """resume_deployment"""

    ledger_table_name: str
    resource_prefix: str


class CompareShadowSettings(Settings):
    """compare_shadow"""

    ledger_table_name: str


class RecordApprovalSettings(Settings):
    """record_approval"""

    ledger_table_name: str


class RequestApprovalSettings(Settings):
    """request_approval"""

    ledger_table_name: str
    event_bus_name: str


class FailedRunSettings(Settings):
    """What ends a failed run: its jobs are looked for, and its retry is planned."""

    resource_prefix: str
    preprocess_job_name: str
    schedule_group_name: str
    scheduler_role_arn: str
    scheduler_dead_letter_queue_arn: str
    start_run_function_arn: str

    @property
    def schedule(self) -> tuple[str, str, str, str]:
        """What a RunSchedule is made of."""
        return (
            self.schedule_group_name,
            self.start_run_function_arn,
            self.scheduler_role_arn,
            self.scheduler_dead_letter_queue_arn,
        )


class CloseRunSettings(FailedRunSettings):
    """close_run"""

    ledger_table_name: str
    retrain_state_machine_arn: str


class ReconcileSettings(FailedRunSettings):
    """reconcile"""

    ledger_table_name: str
    data_bucket_name: str
    retrain_state_machine_arn: str
    ingest_state_machine_arn: str
    event_bus_name: str


class NotifySettings(Settings):
    """notify"""

    topic_arn: str
    stage: str


class PredictSettings(Settings):
    """predict"""

    ledger_table_name: str
    artifacts_bucket_name: str


class ScoreUploadSettings(Settings):
    """score_upload"""

    ledger_table_name: str
    artifacts_bucket_name: str
    data_bucket_name: str
    score_queue_url: str
    score_dead_letter_queue_url: str
    max_receives: int
    aws_lambda_function_memory_size: int  # MB; Lambda sets it


class CleanupEndpointsSettings(Settings):
    """cleanup_endpoints"""

    ledger_table_name: str
    resource_prefix: str
    event_bus_name: str
