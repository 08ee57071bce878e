"""Puts the candidate on the pipeline's endpoint; resume_deployment answers the task token."""

from ratchet.adapters.clock import utc_now
from ratchet.adapters.dynamodb_ledger import DynamoDbLedger
from ratchet.adapters.s3_store import S3Store
from ratchet.adapters.sagemaker_endpoints import SageMakerEndpoints
from ratchet.adapters.step_functions import StepFunctions
from ratchet.contracts.states import DeployEndpointRequest
from ratchet.domain.deploying import DeployEndpoint
from ratchet.observability import doorway, logger
from ratchet.settings import DeployEndpointSettings


def build() -> DeployEndpoint:
    """The use case over AWS."""
    settings = DeployEndpointSettings.load()
    return DeployEndpoint(
        ledger=DynamoDbLedger(settings.ledger_table_name),
        store=S3Store(),
        endpoints=SageMakerEndpoints(),
        workflow=StepFunctions(settings.retrain_state_machine_arn),
        clock=utc_now,
        resource_prefix=settings.resource_prefix,
        stage=settings.stage,
        artifacts_bucket=settings.artifacts_bucket_name,
    )


@doorway(DeployEndpointRequest, build)
def handler(request: DeployEndpointRequest, deploy_endpoint: DeployEndpoint) -> None:
    """Records the deployment, then asks SageMaker for it."""
    deploy_endpoint(request)
    logger.info("deployment begun", model_name=request.selection.model_name)
