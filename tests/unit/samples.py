"""Records that tests share: small, real in shape, and each made by one call."""

from datetime import UTC, datetime, timedelta
from typing import Any

from ratchet.contracts.run import Candidate, Champion, Decision, DefinitionRef, Run, ShadowComparison, VariantHealth
from ratchet.domain import identity
from ratchet.domain.code_bundle import CodeBundle
from ratchet.domain.definition import CompiledDefinition, Definition
from ratchet.domain.identity import canonical
from ratchet.domain.ledger import Approval, Claim, Deployment, Upload, Verdict

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PREFIX = "ratchet-dev"
DATA = "ratchet-dev-data"
ARTIFACTS = "ratchet-dev-artifacts"
RETRAIN_ARN = "arn:aws:states:eu-west-1:123456789012:stateMachine:ratchet-dev-retrain"
EXECUTION_ARN = "arn:aws:states:eu-west-1:123456789012:execution:ratchet-dev-retrain"


def execution_arn(fence: int, pipeline: str = "traffic") -> str:
    return f"{EXECUTION_ARN}:{pipeline}-g{fence}"


def definition(**changes: Any) -> Definition:
    document: dict[str, Any] = {
        "name": "traffic",
        "data": {
            "target": "traffic_volume",
            "task": "regression",
            "timestamp": "datetime",
            "key": ["datetime"],
            "columns": {
                "datetime": {"type": "timestamp", "required": True},
                "temp": {"type": "number"},
                "weather_main": {"type": "string"},
                "traffic_volume": {"type": "integer", "min": 0, "required": True},
            },
        },
        "gate": {"metric": "forecast_accuracy", "threshold": 0.9},
    }
    return Definition.model_validate({**document, **changes})


def compiled(**changes: Any) -> CompiledDefinition:
    code = CodeBundle(
        model_uri=f"s3://{ARTIFACTS}/bundles/{'1' * 64}/model.tar.gz",
        model_sha256="1" * 64,
        preprocess_uri=f"s3://{ARTIFACTS}/bundles/{'2' * 64}/preprocess.py",
        preprocess_sha256="2" * 64,
        wheel_uri=f"s3://{ARTIFACTS}/bundles/{'3' * 64}/narwhals-2.28.0-py3-none-any.whl",
        wheel_sha256="3" * 64,
    )
    image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:3.0-5"
    return CompiledDefinition(definition=definition(**changes), code=code, image_uri=image)


def definition_ref(compiled_definition: CompiledDefinition | None = None, on_upload: bool = True) -> DefinitionRef:
    stored = compiled_definition or compiled()
    definition_id = identity.definition_id(stored)
    return DefinitionRef(
        definition_id=definition_id,
        uri=f"s3://{ARTIFACTS}/definitions/{stored.pipeline}/{definition_id}.json",
        data_hash=identity.data_hash(stored.definition.data),
        settle_seconds=int(stored.definition.retrain.settle.total_seconds()),
        on_upload=on_upload,
        retry_seconds=tuple(int(wait.total_seconds()) for wait in stored.definition.retrain.retry_after),
    )


def stored_definition(compiled_definition: CompiledDefinition) -> dict[str, Any]:
    return canonical(compiled_definition)


def upload(number: int, key: str | None = None) -> Upload:
    return Upload(
        upload_id=f"{number:064x}",
        key=key or f"incoming/traffic/{number}.csv",
        version_id=f"v{number}",
        modified=NOW + timedelta(minutes=number),
        size=100 * number,
    )


def verdict(number: int, outcome: str = "ACCEPTED", data_hash: str | None = None) -> Verdict:
    seen = upload(number)
    contract = data_hash or definition_ref().data_hash
    verdict_id = identity.verdict_id(seen.upload_id, contract)
    return Verdict.model_validate(
        {
            "verdict_id": verdict_id,
            "upload_id": seen.upload_id,
            "data_hash": contract,
            "outcome": outcome,
            "key": seen.key,
            "version_id": seen.version_id,
            "judged_at": NOW,
            "rows": 10 * number,
            "accepted_uri": f"s3://{DATA}/accepted/traffic/{verdict_id}.parquet",
        }
    )


def run(fence: int = 1, reason: str = "upload", forced: bool = False) -> Run:
    return Run(pipeline="traffic", run_id=f"traffic-g{fence}", fence=fence, reason=reason, forced=forced)


def claim(fence: int = 1) -> Claim:
    return Claim(pipeline="traffic", fence=fence, execution_arn=execution_arn(fence))


def candidate(name: str = "c1", key: str = "a" * 64) -> Candidate:
    return Candidate(
        name=name,
        key=key,
        job_name=f"{PREFIX}-traffic-g1-{name}",
        hyperparameters={"max_depth": "8"},
        output_uri=f"s3://{ARTIFACTS}/steps/traffic/train/{key}/",
        training_job_name=f"{PREFIX}-traffic-g1-{name}-0",
        model_uri=f"s3://{ARTIFACTS}/steps/traffic/train/{key}/{PREFIX}-traffic-g1-{name}-0/output/model.tar.gz",
        validation_score=0.93,
    )


def champion(fence: int = 1) -> Champion:
    return Champion(
        run_id=f"traffic-g{fence}",
        model_name=f"{PREFIX}-traffic-g{fence}",
        model_uri=f"s3://{ARTIFACTS}/steps/traffic/train/{'b' * 64}/job/output/model.tar.gz",
        image_uri=compiled().image_uri,
        endpoint_name=f"{PREFIX}-traffic",
        endpoint_config_name=f"{PREFIX}-traffic-g{fence}",
        trained_until="2026-01-31T23:00:00",
        score=0.926,
    )


def deployment(fence: int = 1) -> Deployment:
    return Deployment(
        pipeline="traffic",
        run_id=f"traffic-g{fence}",
        fence=fence,
        endpoint_name=f"{PREFIX}-traffic",
        wanted_config=f"{PREFIX}-traffic-g{fence}",
        task_token="token",
        started_at=NOW,
    )


def approval(by: str = "arn:aws:sts::1:assumed-role/a/ada", reason: str = "looks right", run: str = "g2") -> Approval:
    """A request that newer work superseded, and that was approved nevertheless."""
    return Approval(
        pipeline="traffic",
        run_id=f"traffic-{run}",
        fence=2,
        work_seq=1,
        task_token="approval-token",
        requested_at=NOW,
        expires_at=NOW + timedelta(hours=72),
        superseded_at=NOW + timedelta(minutes=30),
        decision=Decision.APPROVED,
        by=by,
        reason=reason,
        decided_at=NOW + timedelta(hours=1),
    )


def comparison(sentence: str) -> ShadowComparison:
    """A shadow's minute."""
    return ShadowComparison(
        champion=VariantHealth(requests=118, errors_4xx=0, errors_5xx=0, latency_p99_ms=30.2),
        candidate=VariantHealth(requests=120, errors_4xx=1, errors_5xx=2, latency_p99_ms=31.5),
        seconds=60,
        sentence=sentence,
    )
