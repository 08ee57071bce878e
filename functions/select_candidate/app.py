"""Chooses the candidate with the best score on the validation split."""

from ratchet.adapters.clock import utc_now
from ratchet.adapters.dynamodb_ledger import DynamoDbLedger
from ratchet.adapters.s3_store import S3Store
from ratchet.adapters.sagemaker_jobs import SageMakerJobs
from ratchet.contracts.run import Selection
from ratchet.contracts.states import SelectCandidateRequest
from ratchet.domain.selection import SelectCandidate
from ratchet.observability import doorway, logger
from ratchet.settings import SelectCandidateSettings


def build() -> SelectCandidate:
    """The use case over AWS."""
    settings = SelectCandidateSettings.load()
    return SelectCandidate(
        ledger=DynamoDbLedger(settings.ledger_table_name),
        store=S3Store(),
        jobs=SageMakerJobs(),
        clock=utc_now,
        artifacts_bucket=settings.artifacts_bucket_name,
        resource_prefix=settings.resource_prefix,
    )


@doorway(SelectCandidateRequest, build)
def handler(request: SelectCandidateRequest, select_candidate: SelectCandidate) -> Selection:
    """Records the steps' outputs and selects."""
    selection = select_candidate(request)
    best = selection.candidate
    logger.info("selected", candidate=best.name, validation_score=best.validation_score, model_uri=best.model_uri)
    return selection
