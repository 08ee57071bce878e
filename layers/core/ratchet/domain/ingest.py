"""Judging an upload: from an object version to a verdict in the ledger, once per content and contract."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError

from ratchet.contracts.base import Finding
from ratchet.contracts.ingest import ObjectCreatedEvent, ValidateDataResult, VerdictOutcome
from ratchet.contracts.run import Announcement, DefinitionRef
from ratchet.domain import file_findings
from ratchet.domain.data_contract import CompiledData, DataSection
from ratchet.domain.errors import DefinitionInvalidError, UploadTooLargeError
from ratchet.domain.identity import upload_id, verdict_id
from ratchet.domain.large import LargePath
from ratchet.domain.ledger import Ledger, Upload, Verdict
from ratchet.domain.ports import Clock, ObjectStore, ObjectVersion
from ratchet.domain.validation import Judgement, remarks

INCOMING = "incoming/"
NO_PIPELINE = "(none)"  # cannot be a pipeline's name
_NO_CONTRACT = "no contract"
_CHUNK = 1 << 20

Place = tuple[str, str]  # key and version of an object
# Judges a file that lies alone in its folder and arrived at that time; writes accepted.parquet and quarantine.parquet
# beside it.
Validator = Callable[[Path, DataSection, str, datetime], Judgement]


@dataclass(frozen=True)
class JudgeUpload:
    """The ingest workflow's one decision. Judging the same object version again gives the same answer."""

    ledger: Ledger
    store: ObjectStore
    validate: Validator
    clock: Clock
    large: LargePath | None = None  # where what is too large for here is judged; None is that very place

    def __call__(self, event: ObjectCreatedEvent) -> ValidateDataResult:
        pipeline = pipeline_of(event.detail.object.key)
        state = self.ledger.pipeline(pipeline) if pipeline else None
        definition = state.definition if state else None
        if pipeline is None or definition is None:
            return self._read(event, pipeline, None)
        if (known := self._known(pipeline, definition, event)) is not None:
            return known
        try:
            self._require_small(event.detail.object.size)
            return self._read(event, pipeline, definition)
        except UploadTooLargeError:
            if self.large is None:
                raise
            return self._route(self.large, pipeline, definition, event)

    def _read(
        self, event: ObjectCreatedEvent, pipeline: str | None, definition: DefinitionRef | None
    ) -> ValidateDataResult:
        bucket, key = event.detail.bucket.name, event.detail.object.key
        with TemporaryDirectory(prefix="ratchet-") as folder:
            file = Path(folder) / "upload"
            version = self.store.download(bucket, key, event.detail.object.version_id, file)
            upload = _upload(version, file)
            if version.size == 0 and key.endswith("/"):
                return self._ignore(pipeline, upload)
            if pipeline is None:
                return self._refuse(NO_PIPELINE, upload, file_findings.no_pipeline(key))
            if definition is None:
                return self._refuse(pipeline, upload, file_findings.unknown_pipeline(pipeline, key))
            return self._judge(bucket, pipeline, definition, upload, file)

    def _require_small(self, size: int) -> None:
        if self.large is not None and size > self.large.limit:
            raise UploadTooLargeError(size, self.large.limit)

    def _known(self, pipeline: str, definition: DefinitionRef, event: ObjectCreatedEvent) -> ValidateDataResult | None:
        """The answer on an object version that was judged before: nobody reads it again."""
        seen = event.detail.object
        upload = self.ledger.upload_of(pipeline, seen.key, seen.version_id)
        if upload is None:
            return None
        verdict = self.ledger.verdict(pipeline, verdict_id(upload.upload_id, definition.data_hash))
        return _answer(pipeline, (seen.key, seen.version_id), verdict.of(upload)) if verdict else None

    def _route(
        self, large: LargePath, pipeline: str, definition: DefinitionRef, event: ObjectCreatedEvent
    ) -> ValidateDataResult:
        bucket, seen = event.detail.bucket.name, event.detail.object
        version = self.store.head(bucket, seen.key, seen.version_id)
        return ValidateDataResult(
            outcome=VerdictOutcome.LARGE,
            pipeline=pipeline,
            large=large.route(pipeline, definition.data_hash, bucket, version),
            announcement=_under_way(pipeline, version),
        )

    def _judge(
        self, bucket: str, pipeline: str, definition: DefinitionRef, seen: Upload, file: Path
    ) -> ValidateDataResult:
        oldest = self.ledger.record_object(pipeline, seen)
        known = self.ledger.verdict(pipeline, verdict_id(seen.upload_id, definition.data_hash))
        if known is not None:
            return _answer(pipeline, _place(seen), known.of(oldest))
        judgement = self._validated(file, self._contract(definition), seen.upload_id, oldest.modified)
        made = _verdict(oldest, definition.data_hash, self.clock(), judgement)
        made = self._store_results(f"s3://{bucket}", pipeline, made, judgement, file.parent)
        put = self.ledger.accept if judgement.finding is None else self.ledger.reject
        return self._put(put, pipeline, seen, made)

    def _validated(self, file: Path, data: DataSection, upload_id: str, received: datetime) -> Judgement:
        try:
            return self.validate(file, data, upload_id, received)
        except UploadTooLargeError as error:
            if self.large is not None:
                raise
            return Judgement(finding=file_findings.too_large(error.size, error.limit))

    def _contract(self, definition: DefinitionRef) -> DataSection:
        try:
            return CompiledData.model_validate(self.store.read_json(definition.uri)).data
        except (ValidationError, ValueError) as error:
            raise DefinitionInvalidError(
                f"{definition.uri} cannot be read; apply the pipeline again: {error}"
            ) from error

    def _store_results(
        self, bucket: str, pipeline: str, verdict: Verdict, judgement: Judgement, folder: Path
    ) -> Verdict:
        """Writes what the verdict rests on, before the verdict itself: an attempt that dies between leaves no lie."""
        name = f"{pipeline}/{verdict.verdict_id}"
        uris = {"report_uri": f"{bucket}/reports/{name}.json"}
        if judgement.finding is None:
            uris["accepted_uri"] = f"{bucket}/accepted/{name}.parquet"
            self.store.upload(folder / "accepted.parquet", uris["accepted_uri"])
        if judgement.finding is None and judgement.bad_rows:
            uris["quarantine_uri"] = f"{bucket}/quarantine/{name}.parquet"
            self.store.upload(folder / "quarantine.parquet", uris["quarantine_uri"])
        verdict = verdict.model_copy(update=uris)
        self.store.write_json(uris["report_uri"], _report(pipeline, verdict, judgement))
        return verdict

    def _refuse(self, pipeline: str, upload: Upload, finding: Finding) -> ValidateDataResult:
        """A file without a contract. Its version is not recorded as judged: once the pipeline exists, reconcile
        finds the file again and it is judged then."""
        made = _verdict(upload, _NO_CONTRACT, self.clock(), Judgement(finding=finding))
        return self._put(self.ledger.reject, pipeline, upload, made)

    def _put(
        self, put: Callable[[str, Verdict], bool], pipeline: str, seen: Upload, made: Verdict
    ) -> ValidateDataResult:
        """Records the verdict; somebody else's, made of the same bytes meanwhile, wins."""
        if put(pipeline, made):
            return _answer(pipeline, _place(seen), made, fresh=True)
        return _answer(pipeline, _place(seen), self.ledger.verdict(pipeline, made.verdict_id) or made)

    def _ignore(self, pipeline: str | None, upload: Upload) -> ValidateDataResult:
        """A folder that a console made: recorded so that nobody looks at it again."""
        if pipeline:
            self.ledger.record_object(pipeline, upload)
        name = pipeline or NO_PIPELINE
        return ValidateDataResult(
            outcome=VerdictOutcome.IGNORED,
            pipeline=name,
            upload_id=upload.upload_id,
            verdict_id=verdict_id(upload.upload_id, _NO_CONTRACT),
            announcement=Announcement(
                pipeline=name,
                subject=f"{name}: folder ignored",
                sentence=f"{upload.key} is an empty folder, not data.",
                upload_key=upload.key,
            ),
        )


def pipeline_of(key: str) -> str | None:
    """The folder below `incoming/` that an upload's key names."""
    folder, separator, _ = key.removeprefix(INCOMING).partition("/")
    return folder if key.startswith(INCOMING) and separator and folder else None


def _upload(version: ObjectVersion, file: Path) -> Upload:
    with file.open("rb") as content:
        identity = upload_id(iter(lambda: content.read(_CHUNK), b""))
    return Upload(
        upload_id=identity, key=version.key, version_id=version.version_id, modified=version.modified, size=version.size
    )


def _verdict(upload: Upload, contract: str, now: datetime, judgement: Judgement) -> Verdict:
    return Verdict(
        verdict_id=verdict_id(upload.upload_id, contract),
        upload_id=upload.upload_id,
        data_hash=contract,
        outcome="REJECTED" if judgement.finding else "ACCEPTED",
        key=upload.key,
        version_id=upload.version_id,
        judged_at=now,
        rows=judgement.rows,
        bad_rows=judgement.bad_rows,
        finding=judgement.finding,
        remarks=remarks(judgement),
    )


def _report(pipeline: str, verdict: Verdict, judgement: Judgement) -> dict[str, object]:
    return {
        "pipeline": pipeline,
        "verdict": verdict.model_dump(mode="json", exclude={"finding"}),
        "judgement": judgement.model_dump(mode="json"),
    }


def _place(upload: Upload) -> Place:
    return upload.key, upload.version_id


def _answer(pipeline: str, seen: Place, verdict: Verdict, *, fresh: bool = False) -> ValidateDataResult:
    """The verdict, when it is new or of this very object version; DUPLICATE for a later version of the same bytes.

    A repeated event of the oldest version gets the verdict again: the first attempt may have died before it was told.
    So does the oldest version's late event, which may have changed the order of uploads, and that is work for a run.
    """
    same = fresh or seen == (verdict.key, verdict.version_id)
    return ValidateDataResult(
        outcome=VerdictOutcome(verdict.outcome) if same else VerdictOutcome.DUPLICATE,
        pipeline=pipeline,
        upload_id=verdict.upload_id,
        verdict_id=verdict.verdict_id,
        rows=verdict.rows,
        bad_rows=verdict.bad_rows,
        finding=verdict.finding,
        report_uri=verdict.report_uri,
        announcement=_announcement(pipeline, verdict) if same else _duplicate(pipeline, seen, verdict),
    )


def _announcement(pipeline: str, verdict: Verdict) -> Announcement:
    accepted = verdict.outcome == "ACCEPTED"
    name = verdict.key.rpartition("/")[2]
    good = file_findings.counted(verdict.rows - verdict.bad_rows, "row")
    aside = f", {file_findings.counted(verdict.bad_rows, 'bad row')} put aside" if verdict.bad_rows else ""
    said = " ".join((f"{name} is accepted: {good}{aside}.", *verdict.remarks))
    if verdict.finding:
        said = f"{name} is rejected. {verdict.finding.what}"
    links = {"report": verdict.report_uri, "bad rows": verdict.quarantine_uri}
    return Announcement(
        pipeline=pipeline,
        subject=f"{pipeline}: data {'accepted' if accepted else 'rejected'}",
        sentence=said,
        finding=verdict.finding,
        upload_key=verdict.key,
        numbers={"rows": verdict.rows, "bad rows": verdict.bad_rows},
        links={label: uri for label, uri in links.items() if uri},
    )


def _under_way(pipeline: str, version: ObjectVersion) -> Announcement:
    name = version.key.rpartition("/")[2]
    return Announcement(
        pipeline=pipeline,
        subject=f"{pipeline}: large upload",
        sentence=f"{name} is large ({version.size / 1e6:,.0f} MB): a job validates it.",
        upload_key=version.key,
    )


def _duplicate(pipeline: str, seen: Place, verdict: Verdict) -> Announcement:
    key, _ = seen
    return Announcement(
        pipeline=pipeline,
        subject=f"{pipeline}: data known already",
        sentence=f"{key} holds the same bytes as {verdict.key} (version {verdict.version_id}), which was "
        f"{verdict.outcome.lower()} on {verdict.judged_at:%Y-%m-%d at %H:%M} UTC.",
        finding=verdict.finding,
        upload_key=key,
        links={"report": verdict.report_uri} if verdict.report_uri else {},
    )
