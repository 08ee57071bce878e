"""Snapshot manifests: the lists of uploads that runs were trained on, in S3."""

from collections.abc import Sequence
from typing import Any

from ratchet.contracts.base import Contract
from ratchet.domain.ledger import Ledger, Model, Verdict
from ratchet.domain.ports import ObjectStore


class SnapshotUpload(Contract):
    """One upload of a snapshot; of two rows with one key, that of the higher precedence wins."""

    upload_id: str
    verdict_id: str
    key: str
    version_id: str
    accepted_uri: str | None
    rows: int
    precedence: int


def manifest(pipeline: str, snapshot_id: str, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The snapshot as the preprocess job reads it: uploads in order of precedence, the last one wins."""
    uploads = [
        SnapshotUpload(
            upload_id=verdict.upload_id,
            verdict_id=verdict.verdict_id,
            key=verdict.key,
            version_id=verdict.version_id,
            accepted_uri=verdict.accepted_uri,
            rows=verdict.rows,
            precedence=number,
        ).model_dump()
        for number, verdict in enumerate(verdicts)
    ]
    return {"snapshot_id": snapshot_id, "pipeline": pipeline, "uploads": uploads}


def uploads_in(ledger: Ledger, store: ObjectStore, pipeline: str, snapshot_id: str) -> list[SnapshotUpload]:
    """The snapshot's uploads; none when the ledger does not know it."""
    snapshot = ledger.snapshot(pipeline, snapshot_id)
    if snapshot is None:
        return []
    document = store.read_json(snapshot.manifest_uri)
    return [SnapshotUpload.model_validate(upload) for upload in document["uploads"]]


def uploads_of(ledger: Ledger, store: ObjectStore, pipeline: str, model: Model) -> list[SnapshotUpload]:
    """The uploads a model was trained and judged on."""
    return uploads_in(ledger, store, pipeline, model.snapshot_id)
