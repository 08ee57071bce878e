"""Data quality for the report: what validation said of the uploads since the run before."""

from collections import Counter
from collections.abc import Iterator, Sequence

from ratchet.domain.ledger import Ledger, RunRecord, Verdict
from ratchet.domain.ports import ObjectStore
from ratchet.domain.report import BrokenTotal, Quality, UploadQuality
from ratchet.domain.snapshots import uploads_in

MAX_UPLOADS = 50  # whose validation reports are read


def quality_of(ledger: Ledger, store: ObjectStore, record: RunRecord) -> Quality:
    """New uploads in the run's snapshot, and what was rejected since the earlier run was judged."""
    earlier = _earlier(ledger, record)
    verdicts = sorted(_new(ledger, store, record, earlier), key=lambda verdict: verdict.judged_at, reverse=True)
    return Quality(
        before=earlier.run_id if earlier else None,
        uploads=tuple(_upload(verdict) for verdict in verdicts),
        broken=tuple(_broken(store, verdicts[:MAX_UPLOADS])),
        unread=max(0, len(verdicts) - MAX_UPLOADS),
    )


def _earlier(ledger: Ledger, record: RunRecord) -> RunRecord | None:
    """The newest run before this one that reached a decision."""
    judged = [run for run in ledger.runs(record.pipeline) if run.fence < record.fence and run.evaluation is not None]
    return max(judged, key=lambda run: run.fence, default=None)


def _new(ledger: Ledger, store: ObjectStore, record: RunRecord, earlier: RunRecord | None) -> Iterator[Verdict]:
    held = _snapshot(ledger, store, record) - (_snapshot(ledger, store, earlier) if earlier else set())
    for verdict in ledger.verdicts(record.pipeline):
        after = earlier is None or verdict.judged_at > earlier.started_at
        before = record.ended_at is None or verdict.judged_at <= record.ended_at
        if verdict.verdict_id in held or (verdict.outcome == "REJECTED" and after and before):
            yield verdict


def _snapshot(ledger: Ledger, store: ObjectStore, record: RunRecord) -> set[str]:
    """The verdicts of a run's snapshot."""
    if record.plan is None or record.plan.snapshot_id is None:
        return set()
    return {held.verdict_id for held in uploads_in(ledger, store, record.pipeline, record.plan.snapshot_id)}


def _upload(verdict: Verdict) -> UploadQuality:
    return UploadQuality(
        key=verdict.key,
        outcome=verdict.outcome,
        judged_at=verdict.judged_at,
        rows=verdict.rows,
        bad_rows=verdict.bad_rows,
        finding=verdict.finding,
    )


def _broken(store: ObjectStore, verdicts: Sequence[Verdict]) -> Iterator[BrokenTotal]:
    """Every broken rule of the validation reports, over all of them; a report that is gone counts for nothing."""
    rows: Counter[tuple[str | None, str, str]] = Counter()
    uploads: Counter[tuple[str | None, str, str]] = Counter()
    for verdict in verdicts:
        if verdict.report_uri is None or not store.exists(verdict.report_uri):
            continue
        for broken in store.read_json(verdict.report_uri)["judgement"]["broken"]:
            rule = (broken["column"], broken["rule"], broken["expects"])
            rows[rule] += broken["rows"]
            uploads[rule] += 1
    for (column, name, expects), count in rows.most_common():
        yield BrokenTotal(column, name, expects, count, uploads[column, name, expects])
