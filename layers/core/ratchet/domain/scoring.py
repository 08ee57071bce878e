"""Score files: an object under score/<pipeline>/ becomes predictions under scored/<pipeline>/, each version once."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import ValidationError

from ratchet.contracts.base import Finding
from ratchet.contracts.score import BatchResult, FailedMessage, Notification, QueueMessage, ScoredFile
from ratchet.domain import file_findings
from ratchet.domain.data_contract import DataSection
from ratchet.domain.errors import (
    BusyError,
    CallerError,
    EndpointAsleepError,
    EndpointMissingError,
    FileUnscorableError,
)
from ratchet.domain.ports import DeadLetters, ObjectStore, Predictions, ScoredFiles, Scorer
from ratchet.domain.predicting import ServingContracts, serving
from ratchet.domain.records import asked_columns, asked_comparisons
from ratchet.domain.waking import Wake

SCORE = "score/"
SCORED = "scored/"
_FIRST_WAIT_SECONDS = 20
_LONGEST_WAIT_SECONDS = 900
_log = logging.getLogger(__name__)


def scoring_contract(data: DataSection) -> DataSection:
    """What a file to score must hold: all but the target, and no bad row, for each is asked for."""
    return data.model_copy(
        update={
            "target": "",
            "columns": asked_columns(data),
            "compare": asked_comparisons(data),
            "unexpected_columns": "ignore",  # the target may be there
            "unique": False,
            "order": None,
            "max_age": None,
            "max_bad_rows": 0.0,
            "min_rows": 1,
            "max_rows": None,
            "window": None,
        }
    )


def identifying_columns(data: DataSection) -> tuple[str, ...]:
    """By which a prediction is matched with its row: the key, else the time; without either, the line is."""
    return data.key or ((data.timestamp,) if data.timestamp else ())


@dataclass(frozen=True)
class ScoreFile:
    """Scores one object version; again, or after a newer version, it does nothing."""

    store: ObjectStore
    scored: ScoredFiles
    contracts: ServingContracts
    predictions: Predictions
    wake: Wake
    score: Scorer

    def __call__(self, notified: Notification) -> ScoredFile:
        """FileUnscorableError, PipelineUnknownError, ModelMissingError: it will not be scored as things are."""
        bucket, key, version = notified.s3.bucket.name, notified.s3.object.plain_key, notified.s3.object.version_id
        pipeline, separator, name = key.removeprefix(SCORE).partition("/")
        if not separator or not name:
            raise FileUnscorableError(file_findings.no_pipeline(key, SCORE))
        seen = ScoredFile(pipeline=pipeline, key=key, version_id=version, outcome="KNOWN")
        if notified.s3.object.size == 0 and key.endswith("/"):
            return seen.model_copy(update={"outcome": "IGNORED"})
        target = f"{SCORED}{pipeline}/{name}"
        before = self.scored.source_of(target)
        if before is not None and before.version_id == version:
            return seen
        if self.scored.latest_version(key) != version:
            return seen.model_copy(update={"outcome": "SUPERSEDED"})
        with TemporaryDirectory(prefix="ratchet-") as folder:
            file, made = Path(folder) / "upload", Path(folder) / "scored"
            self.store.download(bucket, key, version, file)
            rows, model = self._score(pipeline, file, made)
            if not self.scored.put(made, target, version, model, replaces=before):
                # Somebody else put predictions there meanwhile: of this version, or of a newer one.
                return self(notified)
        uri = f"s3://{bucket}/{target}"
        return seen.model_copy(update={"outcome": "SCORED", "rows": rows, "uri": uri, "model": model})

    def _score(self, pipeline: str, file: Path, made: Path) -> tuple[int, str]:
        state, champion = serving(self.contracts.ledger, pipeline)
        data = self.contracts.of(state, champion).data
        try:
            rows = self.score(
                file, data, lambda records: self.predictions.predict(champion.endpoint_name, records), made
            )
        except EndpointMissingError as error:
            self.wake(pipeline)
            raise EndpointAsleepError(f"the endpoint of {pipeline} is being started") from error
        return rows, champion.model_name


@dataclass(frozen=True)
class ScoreBatch:
    """A batch of the queue: what cannot be scored is buried with its reason, what may succeed later stays."""

    score_file: ScoreFile
    dead_letters: DeadLetters
    max_receives: int
    told: Callable[[ScoredFile], None]

    def __call__(self, messages: tuple[QueueMessage, ...]) -> BatchResult:
        """The messages that stay in the queue."""
        failed = [message for message in messages if not self._done(message)]
        return BatchResult(batchItemFailures=tuple(FailedMessage(itemIdentifier=m.message_id) for m in failed))

    def _done(self, message: QueueMessage) -> bool:
        try:
            records = message.records()
        except (ValueError, TypeError) as error:
            self.dead_letters.bury(message.body, "MessageUnreadable", f"The message is no S3 notification: {error}")
            return True
        done = [self._scored(message, record) for record in records]  # all of them, whichever of them fails
        return all(done)

    def _scored(self, message: QueueMessage, record: dict[str, Any]) -> bool:
        try:
            self.told(self.score_file(Notification.model_validate(record)))
        except (CallerError, ValidationError) as error:  # it will not be scored as things are
            self._bury(record, error)
        except BusyError as error:
            return self._later(message, record, error)
        except Exception as error:  # noqa: BLE001  whatever it is, it is this file's alone
            _log.exception("a file was not scored")
            return self._later(message, record, error)
        return True

    def _later(self, message: QueueMessage, record: dict[str, Any], error: Exception) -> bool:
        """Tried again with growing waits; the last failure is buried with its reason, which SQS would not keep."""
        receives = message.attributes.receives
        if receives >= self.max_receives:
            self._bury(record, error)
            return True
        wait = min(_FIRST_WAIT_SECONDS * 2 ** (receives - 1), _LONGEST_WAIT_SECONDS)
        self.dead_letters.postpone(message.receipt, wait)
        _log.info("a file waits %d s: %s", wait, error)
        return False

    def _bury(self, record: dict[str, Any], error: Exception) -> None:
        finding = error.finding if isinstance(error, FileUnscorableError) else None
        said = sentence_of(finding) if finding else str(error)
        self.dead_letters.bury(_message_of(record), type(error).__name__.removesuffix("Error"), said)


def sentence_of(finding: Finding) -> str:
    """A finding in one line: what, where, why, and what to do."""
    return f"{finding.what} Where: {finding.where}. {finding.why} {finding.fix}"


def _message_of(record: dict[str, Any]) -> str:
    return json.dumps({"Records": [record]})
