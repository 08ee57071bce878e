"""The judge: scores candidate, champion and naive forecast on the same holdout and decides."""

from ratchet.adapters.clock import utc_now
from ratchet.adapters.dynamodb_ledger import DynamoDbLedger
from ratchet.adapters.s3_store import S3Store
from ratchet.contracts.run import Evaluation
from ratchet.contracts.states import EvaluateModelRequest
from ratchet.domain.evaluation import EvaluateModel
from ratchet.observability import count, doorway, logger, measure
from ratchet.settings import EvaluateModelSettings


def build() -> EvaluateModel:
    """The use case over AWS."""
    settings = EvaluateModelSettings.load()
    return EvaluateModel(
        ledger=DynamoDbLedger(settings.ledger_table_name),
        store=S3Store(),
        clock=utc_now,
        artifacts_bucket=settings.artifacts_bucket_name,
    )


@doorway(EvaluateModelRequest, build)
def handler(request: EvaluateModelRequest, evaluate_model: EvaluateModel) -> Evaluation:
    """Decides, and writes the decision document."""
    evaluation = evaluate_model(request)
    logger.info(evaluation.sentence, outcome=evaluation.outcome, decision_uri=evaluation.decision_uri)
    count(f"Gate{evaluation.outcome.title()}", request.run.pipeline)
    measure("GateMetric", evaluation.candidate, request.run.pipeline)
    return evaluation
