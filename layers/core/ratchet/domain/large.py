"""Uploads that are too large for the ingest workflow: which execution of validate_large judges them."""

from dataclasses import dataclass

from ratchet.contracts.ingest import LargeUpload
from ratchet.domain import identity
from ratchet.domain.ledger import LargeValidation, Ledger
from ratchet.domain.object_events import object_created
from ratchet.domain.ports import Clock, ExecutionStatus, ObjectVersion, Workflow


@dataclass(frozen=True)
class LargePath:
    """Sends uploads over `limit` bytes, unpacked, to the workflow validate_large."""

    ledger: Ledger
    workflow: Workflow
    clock: Clock
    limit: int

    def route(self, pipeline: str, contract: str, bucket: str, version: ObjectVersion) -> LargeUpload:
        """The execution to start, recorded before it is: asked again, the same one, unless that one died."""
        last = self.ledger.large(pipeline, version.key, version.version_id)
        attempt = self._attempt(last) if last is not None and last.data_hash == contract else 1
        name = identity.large_execution(pipeline, version.key, version.version_id, contract, attempt)
        planned = LargeValidation(
            key=version.key,
            version_id=version.version_id,
            data_hash=contract,
            attempt=attempt,
            execution_arn=self.workflow.validate_large_execution_arn(name),
            started_at=self.clock(),
        )
        self.ledger.put_large(pipeline, planned)
        return LargeUpload(execution_name=name, event=object_created(bucket, version, by="ingest"))

    def _attempt(self, last: LargeValidation) -> int:
        """Whoever asks has found no verdict: an execution that has ended did not bring one."""
        ended = self.workflow.status(last.execution_arn) is ExecutionStatus.ENDED
        return last.attempt + 1 if ended else last.attempt
