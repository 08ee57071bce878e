"""What makes work the same: every id is a SHA-256 over what can change the result, and nothing else."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:  # most functions name work and read no definition
    from ratchet.domain.data_contract import DataSection
    from ratchet.domain.definition import CompiledDefinition

# Raised whenever validation could judge the same bytes differently: every upload is then judged anew.
VALIDATOR_VERSION = "2"

# No pipeline's name holds a capital letter, so none can end like these.
_INSTANCE, TRIAL, _SHADOW = "-Instance", "-Trial", "-Twin"

CAPTURES = "captures"  # as SageMaker's data capture lays them out: endpoint/variant/yyyy/mm/dd/hh/

# SageMaker allows 63 characters, and the state machine appends "-<retry>".
_JOB_NAME_LENGTH = 60


def canonical(model: BaseModel) -> dict[str, Any]:
    """The JSON form that identities are computed from: defaults written out, durations as text."""
    return model.model_dump(mode="json")


def canonical_json(document: object) -> str:
    """One spelling per document: sorted keys, no spaces, no NaN."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_hash(document: object) -> str:
    """The SHA-256 of a JSON document, whatever the order of its keys."""
    return hashlib.sha256(canonical_json(document).encode()).hexdigest()


def upload_id(chunks: Iterable[bytes]) -> str:
    """The SHA-256 of an object's bytes: a renamed or re-sent copy is the same upload."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def data_hash(data: "DataSection") -> str:
    """The data contract and the validator that reads it."""
    return content_hash({"data": canonical(data), "validator": VALIDATOR_VERSION})


def verdict_id(upload: str, contract: str) -> str:
    """An upload under one version of the data contract: a corrected contract judges the same bytes anew."""
    return content_hash({"upload": upload, "contract": contract})


def snapshot_id(verdict_ids: Sequence[str]) -> str:
    """The accepted uploads in order of precedence."""
    return content_hash(list(verdict_ids))


def definition_id(compiled: "CompiledDefinition") -> str:
    """The definition with its code, wheels and image."""
    return content_hash(canonical(compiled))


def run_key(snapshot: str, definition: str) -> str:
    """What a final outcome is final for."""
    return content_hash({"snapshot": snapshot, "definition": definition})


def preprocess_key(snapshot: str, compiled: "CompiledDefinition") -> str:
    """All that can change the split data: the rows, how they are read and split, and the code."""
    gate = canonical(compiled.definition.gate)
    return _step_key(
        "preprocess",
        snapshot=snapshot,
        data=canonical(compiled.definition.data),
        holdout=gate["holdout"],
        season=gate["season"],
        script=compiled.code.preprocess_sha256,
        wheel=compiled.code.wheel_sha256,
    )


def train_key(preprocess: str, compiled: "CompiledDefinition", hyperparameters: Mapping[str, object]) -> str:
    """All that can change a trained model."""
    return _step_key(
        "train",
        preprocess=preprocess,
        features=canonical(compiled.definition.features),
        holidays=canonical(compiled)["holidays"],
        metric=compiled.definition.gate.metric,  # early stopping and validation_score follow it
        positive=compiled.definition.gate.positive,
        hyperparameters=dict(hyperparameters),
        code=compiled.code.model_sha256,
        image=compiled.image_uri,
    )


def definition_uri(artifacts_bucket: str, pipeline: str, definition_id: str) -> str:
    """Where `apply` stores a compiled definition."""
    return f"s3://{artifacts_bucket}/definitions/{pipeline}/{definition_id}.json"


def run_id(pipeline: str, fence: int) -> str:
    """One claim, one name; also the execution's name."""
    return f"{pipeline}-g{fence}"


def large_execution(pipeline: str, key: str, version_id: str, contract: str, attempt: int) -> str:
    """The execution that validates a large upload: one per object version, contract and attempt; 80 characters at most.

    Step Functions takes a name once in 90 days, so an attempt after one that died has another number.
    """
    digest = content_hash({"key": key, "version": version_id, "contract": contract})[:32]
    return f"{pipeline}-{digest}-{attempt}"


def job_name(prefix: str, run: str, step: str) -> str:
    """A training or transform job's name without its retry suffix, shortened by a hash when AWS would refuse it."""
    name = f"{prefix}-{run}-{step}"
    if len(name) <= _JOB_NAME_LENGTH:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: _JOB_NAME_LENGTH - 9].rstrip('-')}-{digest}"


def model_name(prefix: str, run: str) -> str:
    """The name of a run's model, and of its endpoint configuration."""
    return f"{prefix}-{run}"


def shadow_config_name(model: str) -> str:
    """The endpoint configuration in which the champion serves and the model gets copies."""
    return f"{model}{_SHADOW}"


def endpoint_name(prefix: str, pipeline: str, mode: str = "serverless") -> str:
    """The endpoint that serves a pipeline in a mode: SageMaker cannot change the mode of an endpoint."""
    return f"{prefix}-{pipeline}{_INSTANCE if mode == 'instance' else ''}"


def is_instance_endpoint(endpoint: str) -> bool:
    """Whether the endpoint serves on instances; one of a trial never scales."""
    return endpoint.endswith(_INSTANCE)


def trial_name(prefix: str, pipeline: str) -> str:
    """The short-lived endpoint on which a candidate is asked first."""
    return f"{prefix}-{pipeline}{TRIAL}"


def endpoint_names(prefix: str, pipeline: str) -> tuple[str, ...]:
    """Every endpoint that a pipeline may have."""
    return (
        endpoint_name(prefix, pipeline),
        endpoint_name(prefix, pipeline, "instance"),
        trial_name(prefix, pipeline),
    )


def pipeline_of_endpoint(prefix: str, endpoint: str) -> str | None:
    """The pipeline an endpoint belongs to, or None for somebody else's endpoint."""
    if not endpoint.startswith(f"{prefix}-"):
        return None
    return endpoint.removeprefix(f"{prefix}-").removesuffix(_INSTANCE).removesuffix(TRIAL)


def captures_uri(bucket: str) -> str:
    """Below which requests and answers are kept, by endpoint, variant and hour; in the artifacts bucket."""
    return f"s3://{bucket}/{CAPTURES}"


def report_uri(bucket: str, pipeline: str, run: str) -> str:
    """Where a run's report for people stands, in the artifacts bucket."""
    return f"s3://{bucket}/reports/{pipeline}/{run}/report.html"


def _step_key(step: str, **inputs: object) -> str:
    return content_hash({"step": step, **inputs})
