"""The environment, typed: each function states only what it needs, and a missing variable fails its cold start."""

import os
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from ratchet.domain.errors import SettingsMissingError


def on_lambda() -> bool:
    """Whether this process is a Lambda function's, rather than a test's or a command's."""
    return "AWS_LAMBDA_FUNCTION_NAME" in os.environ


def trace_is_sampled() -> bool:
    """Whether X-Ray keeps a trace of this very invocation; Lambda says so anew for each."""
    return "Sampled=1" in os.environ.get("_X_AMZN_TRACE_ID", "")


Setting = Annotated[str, Field(min_length=1)]


class Settings(BaseModel):
    """Field `ledger_table_name` is read from the variable LEDGER_TABLE_NAME."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    @classmethod
    def load(cls) -> Self:
        """Reads the environment; SettingsMissingError names every variable that is absent or empty."""
        found = {name: os.environ.get(name.upper(), "") for name in cls.model_fields}
        if missing := [name.upper() for name, value in found.items() if not value]:
            raise SettingsMissingError(f"set {', '.join(missing)} in the function's environment (template.yaml)")
        return cls.model_validate(found)


class ValidateDataSettings(Settings):
    """validate_data"""

    ledger_table_name: Setting
    large_upload_bytes: int
    validate_large_state_machine_arn: Setting
    aws_lambda_function_memory_size: int  # MB; Lambda sets it


class StartRunSettings(Settings):
    """start_run"""

    ledger_table_name: Setting
    retrain_state_machine_arn: Setting


class CheckIdempotencySettings(Settings):
    """check_idempotency"""

    ledger_table_name: Setting
    artifacts_bucket_name: Setting
    resource_prefix: Setting
    retrain_state_machine_arn: Setting


class SelectCandidateSettings(Settings):
    """select_candidate"""

    ledger_table_name: Setting
    artifacts_bucket_name: Setting
    resource_prefix: Setting


class EvaluateModelSettings(Settings):
    """evaluate_model"""

    ledger_table_name: Setting
    artifacts_bucket_name: Setting


class WriteReportSettings(Settings):
    """write_report"""

    ledger_table_name: Setting
    artifacts_bucket_name: Setting


class DeployEndpointSettings(Settings):
    """deploy_endpoint"""

    ledger_table_name: Setting
    artifacts_bucket_name: Setting
    resource_prefix: Setting
    stage: Setting
    retrain_state_machine_arn: Setting


class ResumeDeploymentSettings(Settings):
    """resume_deployment"""

    ledger_table_name: Setting
    resource_prefix: Setting


class CompareShadowSettings(Settings):
    """compare_shadow"""

    ledger_table_name: Setting


class RecordApprovalSettings(Settings):
    """record_approval"""

    ledger_table_name: Setting


class RequestApprovalSettings(Settings):
    """request_approval"""

    ledger_table_name: Setting
    event_bus_name: Setting


class FailedRunSettings(Settings):
    """What ends a failed run: its jobs are looked for, and its retry is planned."""

    resource_prefix: Setting
    preprocess_job_name: Setting
    schedule_group_name: Setting
    scheduler_role_arn: Setting
    scheduler_dead_letter_queue_arn: Setting
    start_run_function_arn: Setting

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

    ledger_table_name: Setting
    retrain_state_machine_arn: Setting


class ReconcileSettings(FailedRunSettings):
    """reconcile"""

    ledger_table_name: Setting
    data_bucket_name: Setting
    retrain_state_machine_arn: Setting
    ingest_state_machine_arn: Setting
    event_bus_name: Setting


class NotifySettings(Settings):
    """notify"""

    topic_arn: Setting
    stage: Setting


class PredictSettings(Settings):
    """predict"""

    ledger_table_name: Setting
    artifacts_bucket_name: Setting


class ScoreUploadSettings(Settings):
    """score_upload"""

    ledger_table_name: Setting
    artifacts_bucket_name: Setting
    data_bucket_name: Setting
    score_queue_url: Setting
    score_dead_letter_queue_url: Setting
    max_receives: int
    aws_lambda_function_memory_size: int  # MB; Lambda sets it


class CleanupEndpointsSettings(Settings):
    """cleanup_endpoints"""

    ledger_table_name: Setting
    resource_prefix: Setting
    event_bus_name: Setting
