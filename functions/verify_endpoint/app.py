"""Asks the endpoint for rows whose answer the judge saw."""

from ratchet.adapters.s3_store import S3Store
from ratchet.adapters.sagemaker_endpoints import SageMakerEndpoints
from ratchet.contracts.run import Verification
from ratchet.contracts.states import VerifyEndpointRequest
from ratchet.domain.verifying import VerifyEndpoint
from ratchet.observability import doorway, logger


def build() -> VerifyEndpoint:
    """The use case over AWS."""
    return VerifyEndpoint(store=S3Store(), endpoints=SageMakerEndpoints())


@doorway(VerifyEndpointRequest, build)
def handler(request: VerifyEndpointRequest, verify_endpoint: VerifyEndpoint) -> Verification:
    """The endpoint agrees, or PredictionMismatchError says where it does not."""
    verification = verify_endpoint(request)
    logger.info("verified", **verification.model_dump())
    return verification
