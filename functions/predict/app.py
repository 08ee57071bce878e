"""Predict: the HTTP API's way to the model that serves."""

from ratchet.adapters.dynamodb_ledger import DynamoDbLedger
from ratchet.adapters.patterns import full_match
from ratchet.adapters.s3_captures import S3Captures
from ratchet.adapters.s3_store import S3Store
from ratchet.adapters.sagemaker_endpoints import SageMakerEndpoints
from ratchet.adapters.sagemaker_runtime import SageMakerPredictions
from ratchet.contracts.http import HttpAnswer, HttpRequest
from ratchet.domain.predicting import Predict, ServingContracts, records_of
from ratchet.domain.waking import Wake
from ratchet.http_door import http_door, json_body
from ratchet.observability import count, logger
from ratchet.settings import PredictSettings


def build() -> Predict:
    """The use case over AWS."""
    settings = PredictSettings.load()
    ledger = DynamoDbLedger(settings.ledger_table_name)
    return Predict(
        ledger=ledger,
        contracts=ServingContracts(ledger, S3Store(), settings.artifacts_bucket_name),
        predictions=SageMakerPredictions(),
        wake=Wake(ledger, SageMakerEndpoints()),
        captures=S3Captures(settings.artifacts_bucket_name),
        matches=full_match,
    )


@http_door(build)
def handler(request: HttpRequest, predict: Predict) -> HttpAnswer:
    """One prediction for each record, or the status that says why there is none."""
    pipeline = request.path_parameters["pipeline"]
    result = predict(pipeline, records_of(json_body(request)))
    logger.info("predicted", records=len(result.predictions), model=result.model)
    count("Predicted", pipeline)
    return HttpAnswer(status=200, body=result.model_dump())
