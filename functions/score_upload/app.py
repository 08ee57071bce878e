"""Score Upload: files under score/ become predictions under scored/."""

from ratchet.adapters.duckdb_scoring import DuckDbScorer
from ratchet.adapters.dynamodb_ledger import DynamoDbLedger
from ratchet.adapters.s3_scored_files import S3ScoredFiles
from ratchet.adapters.s3_store import S3Store
from ratchet.adapters.sagemaker_endpoints import SageMakerEndpoints
from ratchet.adapters.sagemaker_runtime import SageMakerPredictions
from ratchet.adapters.score_queue import ScoreQueue
from ratchet.contracts.score import BatchResult, QueueEvent, ScoredFile
from ratchet.domain.predicting import ServingContracts
from ratchet.domain.scoring import ScoreBatch, ScoreFile
from ratchet.domain.waking import Wake
from ratchet.observability import doorway, logger, metrics
from ratchet.settings import ScoreUploadSettings


def tell(file: ScoredFile) -> None:
    """One line in the log for each file, and one in the metrics."""
    logger.info("file", **file.model_dump(exclude_none=True))
    metrics.add_metric(name=f"File{file.outcome.title()}", unit="Count", value=1)


def build() -> ScoreBatch:
    """The use case over AWS and DuckDB."""
    settings = ScoreUploadSettings.load()
    ledger, store = DynamoDbLedger(settings.ledger_table_name), S3Store()
    score_file = ScoreFile(
        store=store,
        scored=S3ScoredFiles(settings.data_bucket_name),
        contracts=ServingContracts(ledger, store, settings.artifacts_bucket_name),
        predictions=SageMakerPredictions(read_timeout=65),
        wake=Wake(ledger, SageMakerEndpoints()),
        score=DuckDbScorer(memory_mb=settings.aws_lambda_function_memory_size),
    )
    queue = ScoreQueue(settings.score_queue_url, settings.score_dead_letter_queue_url)
    return ScoreBatch(score_file, queue, settings.max_receives, tell)


@doorway(QueueEvent, build)
def handler(event: QueueEvent, score_batch: ScoreBatch) -> BatchResult:
    """Names the messages that are to be tried again."""
    return score_batch(event.messages)
