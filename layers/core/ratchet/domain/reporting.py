"""Write Report: gathers all that a run left behind and writes it as one page."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from ratchet.contracts.report import WriteReportRequest, WriteReportResult
from ratchet.contracts.run import Selection
from ratchet.domain.errors import EventInvalidError, ObjectMissingError, ScoringIncompleteError
from ratchet.domain.identity import report_uri
from ratchet.domain.ledger import Ledger, RunRecord
from ratchet.domain.lineage import ModelLineage, model_lineage
from ratchet.domain.ports import Clock, ObjectStore, ScoringJobs
from ratchet.domain.prices import instance_dollars
from ratchet.domain.report import Report, ReportedDefinition, Scores, ScoringUse
from ratchet.domain.report_quality import quality_of
from ratchet.domain.savings import steps_of

_MODEL_FILE, _OUTPUT_FILE = "model.tar.gz", "output.tar.gz"  # as SageMaker calls what a training job leaves
_ATTEMPTS = 2  # of a transform job, each under its own name

Found = TypeVar("Found")


@dataclass(frozen=True)
class WriteReport:
    """Reads; decides nothing. Called again, it writes the page anew with what is known then."""

    ledger: Ledger
    store: ObjectStore
    jobs: ScoringJobs
    clock: Clock
    page_of: Callable[[Report], str]
    artifacts_bucket: str

    def __call__(self, request: WriteReportRequest) -> WriteReportResult:
        record = self.ledger.run(request.pipeline, request.run_id)
        if record is None:
            raise EventInvalidError(f"run_id: the ledger knows no run {request.run_id} of {request.pipeline}")
        page = self.page_of(self.report(record)).encode(errors="replace")  # a file may hold half a character
        uri = report_uri(self.artifacts_bucket, record.pipeline, record.run_id)
        self.store.write_page(uri, page)
        return WriteReportResult(report_uri=uri, size=len(page))

    def report(self, record: RunRecord) -> Report:
        """Everything that is known of the run; what was deleted meanwhile is named among the gaps."""
        gaps: list[str] = []
        definition = _unless_missing(gaps, "the definition", lambda: self._definition(record))
        return Report(
            record=record,
            written_at=self.clock(),
            definition=definition,
            decision=_unless_missing(gaps, "the decision", lambda: self._decision(record)),
            scores=_unless_missing(gaps, "the scored holdout", lambda: self._scores(record, definition)),
            importance=_unless_missing(gaps, "feature importance", lambda: self._importance(record)) or (),
            quality=_unless_missing(gaps, "data quality", lambda: quality_of(self.ledger, self.store, record)),
            lineage=_unless_missing(gaps, "lineage", lambda: self._lineage(record)),
            approval=self.ledger.approval(record.pipeline, record.run_id),
            steps=tuple(steps_of(self.ledger, record)),
            scoring=tuple(self._scoring(record.selection)) if record.selection else (),
            gaps=tuple(gaps),
        )

    def _definition(self, record: RunRecord) -> ReportedDefinition | None:
        if record.plan is None or record.plan.train is None:
            return None
        return ReportedDefinition.model_validate(self.store.read_json(record.plan.train.definition_uri))

    def _decision(self, record: RunRecord) -> dict[str, Any] | None:
        if record.evaluation is None:
            return None
        document: dict[str, Any] = self.store.read_json(record.evaluation.decision_uri)
        return document

    def _scores(self, record: RunRecord, definition: ReportedDefinition | None) -> Scores | None:
        selection = record.selection
        if selection is None or record.evaluation is None or definition is None:
            return None
        from ratchet.domain.report_holdout import scores_in  # noqa: PLC0415  (a run that was not scored has none)

        return scores_in(self.store, selection, definition)

    def _importance(self, record: RunRecord) -> tuple[tuple[str, float], ...]:
        """Each feature's share of all gain. A training script of somebody's own may leave none."""
        model_uri = record.selection.candidate.model_uri if record.selection else None
        if model_uri is None or not model_uri.endswith(f"/{_MODEL_FILE}"):
            return ()
        from ratchet.domain.report_importance import gains_in  # noqa: PLC0415  (a run that did not train has none)

        output = f"{model_uri.removesuffix(_MODEL_FILE)}{_OUTPUT_FILE}"
        gains = gains_in(self.store.read(output)) if self.store.exists(output) else {}
        total = sum(gains.values())
        return tuple((name, gain / total) for name, gain in sorted(gains.items(), key=_by_gain)) if total else ()

    def _lineage(self, record: RunRecord) -> ModelLineage | None:
        model = self.ledger.model(record.pipeline, record.selection.model_name) if record.selection else None
        return model_lineage(self.ledger, self.store, record.pipeline, model) if model else None

    def _scoring(self, selection: Selection) -> Iterator[ScoringUse]:
        for model in selection.models_to_score:
            attempts = (self.jobs.scoring(f"{model.job_name}-{attempt}") for attempt in range(_ATTEMPTS))
            if ended := [job for job in attempts if job is not None]:
                costs = [instance_dollars(job.instance_type, job.seconds) for job in ended]
                known = None if None in costs else sum(cost for cost in costs if cost is not None)
                yield ScoringUse(model.role, sum(job.seconds for job in ended), known)


def _unless_missing(gaps: list[str], what: str, read: Callable[[], Found]) -> Found | None:
    try:
        return read()
    except (ObjectMissingError, ScoringIncompleteError) as error:
        gaps.append(f"{what}: {error}")
        return None


def _by_gain(item: tuple[str, float]) -> tuple[float, str]:
    return -item[1], item[0]
