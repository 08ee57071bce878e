"""On any event of an endpoint: looks at the endpoint, and answers the task token when its deployment has ended."""

from ratchet.adapters.clock import utc_now
from ratchet.adapters.dynamodb_ledger import DynamoDbLedger
from ratchet.adapters.sagemaker_endpoints import SageMakerEndpoints
from ratchet.adapters.step_functions import StepFunctions
from ratchet.contracts.aws_events import EndpointStateEvent
from ratchet.domain.resuming import ResumeDeployment
from ratchet.observability import doorway, logger
from ratchet.settings import ResumeDeploymentSettings


def build() -> ResumeDeployment:
    """The use case over AWS."""
    settings = ResumeDeploymentSettings.load()
    return ResumeDeployment(
        ledger=DynamoDbLedger(settings.ledger_table_name),
        endpoints=SageMakerEndpoints(),
        workflow=StepFunctions(),
        clock=utc_now,
        resource_prefix=settings.resource_prefix,
    )


@doorway(EndpointStateEvent, build)
def handler(event: EndpointStateEvent, resume_deployment: ResumeDeployment) -> None:
    """The event's status is a hint; the endpoint's own is the truth."""
    done = resume_deployment(event.detail.endpoint_name)
    logger.info(done, endpoint=event.detail.endpoint_name, event_status=event.detail.endpoint_status)
