"""The API between Python and the state machines: a class name here is what Retry and Catch match."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ratchet.contracts.base import Finding
    from ratchet.contracts.predict import RecordProblem


class RatchetError(Exception):
    """Everything Ratchet raises on purpose."""


class CallerError(RatchetError):
    """The caller is wrong: the same call will fail again, so it is never retried."""


class BusyError(RatchetError):
    """The world is busy: the same call may succeed later, so it is retried with back-off."""


class BrokenError(RatchetError):
    """We are broken: caught, recorded and alarmed."""


class EventInvalidError(CallerError):
    """The event does not have the shape of its contract."""


class DefinitionInvalidError(CallerError):
    """A pipeline definition breaks the schema or a bound that AWS would refuse later."""


class PipelineUnknownError(CallerError):
    """No definition was ever applied for the pipeline."""


class RollbackRefusedError(CallerError):
    """A run owns the pipeline, or there is no earlier champion to put back."""


class ApprovalUnknownError(CallerError):
    """Nobody was asked to approve the run."""


class ApprovalClosedError(CallerError):
    """The request was decided otherwise, or its run has ended."""


class UploadUnknownError(CallerError):
    """The pipeline never saw the upload."""


class UploadTooLargeError(CallerError):
    """The upload, unpacked, is larger than there is room to validate it here; `size` and `limit` are bytes."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"{size:,} bytes or more, unpacked; there is room for {limit:,}")
        self.size = size
        self.limit = limit


class ObjectMissingError(CallerError):
    """An object version the event names is not there."""


class RequestInvalidError(CallerError):
    """An HTTP request does not have the shape that its route asks for."""


class RequestTooLargeError(CallerError):
    """An HTTP request holds more records or bytes than one answer can be given for."""


class RecordsInvalidError(CallerError):
    """Records break the data contract; `problems` are the first of what is wrong with them."""

    def __init__(self, message: str, problems: Sequence["RecordProblem"]) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class FileUnscorableError(CallerError):
    """A file to score breaks the contract, or belongs to nothing; the finding says where."""

    def __init__(self, finding: "Finding") -> None:
        super().__init__(finding.what)
        self.finding = finding


class ModelMissingError(CallerError):
    """No model serves the pipeline yet."""


class StaleRunError(CallerError):
    """The run no longer owns its pipeline: another claim came after it."""


class DependencyBusyError(BusyError):
    """AWS throttles or is not ready yet (an endpoint still updating, a capacity shortage)."""


class EndpointAsleepError(BusyError):
    """The champion's endpoint was deleted while nobody asked it; it is on its way back."""


class EndpointMissingError(BrokenError):
    """There is no such endpoint."""


class ModelFailedError(BrokenError):
    """The model raised while it predicted."""


class ScoringIncompleteError(BrokenError):
    """Batch transform answered some holdout rows twice or not at all."""


class EndpointFailedError(BrokenError):
    """The endpoint could not be created."""


class EndpointRolledBackError(BrokenError):
    """SageMaker put the endpoint back on its old configuration."""


class ShadowWorseError(BrokenError):
    """The candidate served its copies worse than the champion its requests."""


class ShadowInconclusiveError(BrokenError):
    """Too few requests came while the candidate got copies: there is nothing to compare."""


class PredictionMismatchError(BrokenError):
    """The endpoint's answers differ from what the judge saw for the same rows."""


class StepOutputMissingError(BrokenError):
    """A step reported success but its output is not where it belongs."""


class SettingsMissingError(BrokenError):
    """An environment variable the function needs is not set, or is no number where it has to be one."""


class ValidationBrokenError(BrokenError):
    """Validation contradicts itself (two readers saw different rows in one file), or a part of it died."""


class ReconcileIncompleteError(BrokenError):
    """Reconcile failed for some pipelines; the others were looked after."""
