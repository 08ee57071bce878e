"""Lineage of an upload: what became of it, and every model it is in."""

from ratchet.contracts.base import Contract
from ratchet.domain.ledger import Ledger, Upload, Verdict, Withdrawal
from ratchet.domain.lineage import serving_model
from ratchet.domain.ports import ObjectStore
from ratchet.domain.snapshots import uploads_in


class ObjectVersionRef(Contract):
    """One name under which an upload's bytes arrived."""

    key: str
    version_id: str


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


def upload_lineage(ledger: Ledger, store: ObjectStore, pipeline: str, upload: Upload) -> UploadLineage:
    """Reads the manifest of every snapshot that a model was made of, each once."""
    models = ledger.models(pipeline)
    holding = {
        snapshot_id
        for snapshot_id in {model.snapshot_id for model in models}
        if any(held.upload_id == upload.upload_id for held in uploads_in(ledger, store, pipeline, snapshot_id))
    }
    serving = serving_model(ledger, pipeline)
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
