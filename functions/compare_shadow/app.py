"""Compares the candidate's copies of the champion's requests with the requests themselves, by their metrics."""

from ratchet.adapters.clock import utc_now
from ratchet.adapters.dynamodb_ledger import DynamoDbLedger
from ratchet.adapters.sagemaker_endpoints import SageMakerEndpoints
from ratchet.contracts.run import ShadowComparison
from ratchet.contracts.states import CompareShadowRequest
from ratchet.domain.shadowing import CompareShadow
from ratchet.observability import doorway, logger
from ratchet.settings import CompareShadowSettings


def build() -> CompareShadow:
    """The use case over AWS."""
    settings = CompareShadowSettings.load()
    return CompareShadow(
        ledger=DynamoDbLedger(settings.ledger_table_name), endpoints=SageMakerEndpoints(), clock=utc_now
    )


@doorway(CompareShadowRequest, build)
def handler(request: CompareShadowRequest, compare_shadow: CompareShadow) -> ShadowComparison:
    """The candidate is no worse, or ShadowWorseError says in what it is."""
    comparison = compare_shadow(request)
    logger.info(comparison.sentence)
    return comparison
