"""Lineage, both ways: from a model to everything it was made of, and from an upload to every model it is in."""

from ratchet.contracts.base import Contract
from ratchet.contracts.run import Evaluation
from ratchet.domain.definition import CodeBundle, CompiledDefinition
from ratchet.domain.ledger import ChampionChange, Ledger, Model, RunRecord, Upload, Verdict, Withdrawal
from ratchet.domain.ports import ObjectStore
from ratchet.domain.snapshots import SnapshotUpload, uploads_in, uploads_of


class ObjectVersionRef(Contract):
    """One name under which an upload's bytes arrived."""

    key: str
    version_id: str


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


class ModelUse(Contract):
    """A model that an upload is in."""

    model_name: str
    run_id: str
    outcome: str
    serving: bool


class UploadLineage(Contract):
    """Under which names an upload came, what validation said, and where it went."""

    pipeline: str
    upload: Upload
    objects: tuple[ObjectVersionRef, ...]
    verdicts: tuple[Verdict, ...]
    withdrawal: Withdrawal | None
    models: tuple[ModelUse, ...]


def model_lineage(ledger: Ledger, store: ObjectStore, pipeline: str, model: Model) -> ModelLineage:
    """Reads the snapshot's manifest and the definition that the model's run ran with."""
    run = ledger.run(pipeline, model.run_id)
    withdrawn = {withdrawal.upload_id for withdrawal in ledger.withdrawals(pipeline)}
    uri = _definition_uri(run)
    return ModelLineage(
        pipeline=pipeline,
        model=model,
        serving=_serving(ledger, pipeline) == model.model_name,
        uploads=tuple(
            SourceUpload(**held.model_dump(), withdrawn=held.upload_id in withdrawn)
            for held in uploads_of(ledger, store, pipeline, model)
        ),
        definition_uri=uri,
        code=CompiledDefinition.model_validate(store.read_json(uri)).code if uri else None,
        evaluation=run.evaluation if run else None,
        model_package_arn=run.model_package_arn if run else None,
        run_outcome=run.outcome if run else None,
        champion_history=tuple(
            change for change in ledger.champions(pipeline) if change.champion.model_name == model.model_name
        ),
    )


def upload_lineage(ledger: Ledger, store: ObjectStore, pipeline: str, upload: Upload) -> UploadLineage:
    """Reads the manifest of every snapshot that a model was made of, each once."""
    models = ledger.models(pipeline)
    holding = {
        snapshot_id
        for snapshot_id in {model.snapshot_id for model in models}
        if any(held.upload_id == upload.upload_id for held in uploads_in(ledger, store, pipeline, snapshot_id))
    }
    serving = _serving(ledger, pipeline)
    return UploadLineage(
        pipeline=pipeline,
        upload=upload,
        objects=tuple(
            ObjectVersionRef(key=key, version_id=version_id)
            for (key, version_id), upload_id in sorted(ledger.objects(pipeline).items())
            if upload_id == upload.upload_id
        ),
        verdicts=tuple(verdict for verdict in ledger.verdicts(pipeline) if verdict.upload_id == upload.upload_id),
        withdrawal=next((w for w in ledger.withdrawals(pipeline) if w.upload_id == upload.upload_id), None),
        models=tuple(
            ModelUse(
                model_name=model.model_name,
                run_id=model.run_id,
                outcome=model.outcome,
                serving=model.model_name == serving,
            )
            for model in models
            if model.snapshot_id in holding
        ),
    )


def _serving(ledger: Ledger, pipeline: str) -> str | None:
    state = ledger.pipeline(pipeline)
    return state.champion.model_name if state and state.champion else None


def _definition_uri(run: RunRecord | None) -> str | None:
    return run.plan.train.definition_uri if run and run.plan and run.plan.train else None
