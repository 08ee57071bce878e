"""Lineage of a model: everything it was made of."""

from ratchet.contracts.base import Contract
from ratchet.contracts.run import Evaluation
from ratchet.domain.code_bundle import CodeBundle
from ratchet.domain.ledger import ChampionChange, Ledger, Model, RunRecord
from ratchet.domain.ports import ObjectStore
from ratchet.domain.snapshots import SnapshotUpload, uploads_of


class SourceUpload(SnapshotUpload):
    """An upload in a model's snapshot; its id is the SHA-256 of its bytes."""

    withdrawn: bool


class ModelLineage(Contract):
    """What a model was made of, how it was judged, and when it served."""

    pipeline: str
    model: Model
    serving: bool
    uploads: tuple[SourceUpload, ...]
    definition_uri: str | None
    code: CodeBundle | None
    evaluation: Evaluation | None
    model_package_arn: str | None
    run_outcome: str | None
    champion_history: tuple[ChampionChange, ...]  # this model's lines


def model_lineage(ledger: Ledger, store: ObjectStore, pipeline: str, model: Model) -> ModelLineage:
    """Reads the snapshot's manifest and the definition that the model's run ran with."""
    run = ledger.run(pipeline, model.run_id)
    withdrawn = {withdrawal.upload_id for withdrawal in ledger.withdrawals(pipeline)}
    uri = _definition_uri(run)
    return ModelLineage(
        pipeline=pipeline,
        model=model,
        serving=serving_model(ledger, pipeline) == model.model_name,
        uploads=tuple(
            SourceUpload(**held.model_dump(), withdrawn=held.upload_id in withdrawn)
            for held in uploads_of(ledger, store, pipeline, model)
        ),
        definition_uri=uri,
        code=CodeBundle.model_validate(store.read_json(uri)["code"]) if uri else None,
        evaluation=run.evaluation if run else None,
        model_package_arn=run.model_package_arn if run else None,
        run_outcome=run.outcome if run else None,
        champion_history=tuple(
            change for change in ledger.champions(pipeline) if change.champion.model_name == model.model_name
        ),
    )


def serving_model(ledger: Ledger, pipeline: str) -> str | None:
    """The name of the pipeline's champion."""
    state = ledger.pipeline(pipeline)
    return state.champion.model_name if state and state.champion else None


def _definition_uri(run: RunRecord | None) -> str | None:
    return run.plan.train.definition_uri if run and run.plan and run.plan.train else None
