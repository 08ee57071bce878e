"""From an object version to a verdict: each version ends in the ledger, and each content is judged once."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ratchet.adapters.duckdb_validation import DuckDbValidator
from ratchet.adapters.memory_ledger import MemoryLedger
from ratchet.adapters.memory_store import MemoryStore
from ratchet.contracts.ingest import ObjectCreatedEvent, ValidateDataResult
from ratchet.domain.data_contract import DataSection
from ratchet.domain.definition import CompiledDefinition
from ratchet.domain.errors import DefinitionInvalidError, ObjectMissingError
from ratchet.domain.identity import verdict_id
from ratchet.domain.ingest import NO_PIPELINE, JudgeUpload, pipeline_of
from ratchet.domain.ledger import Verdict
from ratchet.domain.validation import Judgement
from tests.unit import samples

HEADER = "datetime,temp,weather_main,traffic_volume\n"
GOOD = HEADER + "2017-03-01 00:00:00,280.5,Clear,500\n"
BAD = HEADER + "2017-03-01 00:00:00,280.5,Clear,many\n"


class World:
    """A ledger and a store with one applied pipeline, and uploads by one call."""

    def __init__(self) -> None:
        self.ledger, self.store = MemoryLedger(), MemoryStore()
        self.validated: list[str] = []
        self._validate = DuckDbValidator(memory_mb=512, threads=1)
        self.judge_upload = JudgeUpload(self.ledger, self.store, self._count, lambda: samples.NOW)
        self.apply(samples.compiled())

    def apply(self, compiled: CompiledDefinition) -> None:
        reference = samples.definition_ref(compiled)
        self.store.write_json(reference.uri, samples.stored_definition(compiled))
        self.ledger.apply_definition(compiled.pipeline, reference)

    def upload(self, content: str, key: str = "incoming/traffic/march.csv") -> ObjectCreatedEvent:
        version = self.store.write(f"s3://{samples.DATA}/{key}", content.encode())
        detail = {"key": key, "size": version.size, "version-id": version.version_id}
        return ObjectCreatedEvent.model_validate(
            {"id": "e1", "time": "2017-03-01", "detail": {"bucket": {"name": samples.DATA}, "object": detail}}
        )

    def judge(self, content: str, key: str = "incoming/traffic/march.csv") -> ValidateDataResult:
        return self.judge_upload(self.upload(content, key))

    def work(self) -> int:
        state = self.ledger.pipeline("traffic")
        return state.work_seq if state else 0

    def parquet(self, uri: str | None, tmp_path: Path) -> list[tuple[Any, ...]]:
        assert uri is not None
        (tmp_path / "read.parquet").write_bytes(self.store.read(uri))
        return duckdb.connect().execute(f"FROM '{tmp_path / 'read.parquet'}'").fetchall()

    def _count(self, file: Path, data: DataSection, upload_id: str, received: datetime) -> Judgement:
        self.validated.append(upload_id)
        return self._validate(file, data, upload_id, received)


@pytest.fixture
def world() -> World:
    return World()


def test_an_accepted_upload_is_stored_recorded_and_counted_as_work(world: World, tmp_path: Path) -> None:
    before = world.work()
    result = world.judge(GOOD)
    assert (result.outcome, result.pipeline, result.rows, result.finding) == ("ACCEPTED", "traffic", 1, None)
    assert world.work() == before + 1
    verdict = world.ledger.verdict("traffic", result.verdict_id)
    assert verdict is not None
    assert verdict.accepted_uri == f"s3://{samples.DATA}/accepted/traffic/{result.verdict_id}.parquet"
    assert verdict.quarantine_uri is None
    (row,) = world.parquet(verdict.accepted_uri, tmp_path)
    assert row[-3:-1] == (result.upload_id, 2)
    assert result.announcement.subject == "traffic: data accepted"
    assert result.announcement.sentence == "march.csv is accepted: 1 row."


def test_bad_rows_under_the_limit_go_to_quarantine(world: World, tmp_path: Path) -> None:
    data = samples.definition().data.model_copy(update={"max_bad_rows": 0.5})
    world.apply(samples.compiled(data=data))
    result = world.judge(GOOD + "2017-03-01 01:00:00,281,Clear,many\n")
    assert (result.outcome, result.rows, result.bad_rows) == ("ACCEPTED", 2, 1)
    verdict = world.ledger.verdict("traffic", result.verdict_id)
    assert verdict is not None
    assert world.parquet(verdict.quarantine_uri, tmp_path)[0][-2:] == (
        3,
        ['traffic_volume "many" is not a whole number'],
    )
    assert result.announcement.links == {"report": verdict.report_uri, "bad rows": verdict.quarantine_uri}


def test_a_rejected_upload_is_recorded_with_its_reason_and_is_no_work(world: World) -> None:
    before = world.work()
    result = world.judge(BAD)
    assert result.outcome == "REJECTED"
    assert world.work() == before
    assert result.finding is not None
    assert result.finding.where == "line 2, column traffic_volume"
    verdict = world.ledger.verdict("traffic", result.verdict_id)
    assert verdict is not None
    assert (verdict.finding, verdict.accepted_uri) == (result.finding, None)
    assert result.announcement.finding == result.finding
    report = world.store.read_json(verdict.report_uri or "")
    assert report["judgement"]["examples"][0]["line"] == 2
    assert report["judgement"]["finding"]["what"] == result.finding.what


def test_the_same_bytes_again_are_a_duplicate_that_says_of_what(world: World) -> None:
    world.judge(GOOD)
    before = world.work()
    again = world.judge(GOOD, "incoming/traffic/copy of march.csv")
    assert again.outcome == "DUPLICATE"
    assert again.announcement.sentence == (
        "incoming/traffic/copy of march.csv holds the same bytes as incoming/traffic/march.csv (version v1), "
        "which was accepted on 2026-03-01 at 12:00 UTC."
    )
    assert world.work() == before
    assert len(world.validated) == 1
    assert len(world.ledger.objects("traffic")) == 2


def test_the_same_event_again_gets_the_same_verdict_without_new_work(world: World) -> None:
    event = world.upload(GOOD)
    first = world.judge_upload(event)
    before = world.work()
    assert world.judge_upload(event) == first
    assert world.work() == before


def test_of_two_attempts_at_once_one_verdict_counts(world: World) -> None:
    event = world.upload(GOOD)
    other = world.upload(GOOD, "incoming/traffic/copy.csv")

    outcomes = []

    def meanwhile(file: Path, data: DataSection, upload_id: str, received: datetime) -> Judgement:
        if not world.validated:
            outcomes.append(world.judge_upload(event).outcome)
        return world._count(file, data, upload_id, received)

    before = world.work()
    racing = JudgeUpload(world.ledger, world.store, meanwhile, lambda: samples.NOW + timedelta(minutes=1))
    outcomes.append(racing(other).outcome)
    assert outcomes == ["ACCEPTED", "DUPLICATE"]
    assert world.work() == before + 1


def test_a_copy_whose_event_overtook_the_older_versions_event_gives_way_to_it(world: World) -> None:
    older, newer = world.upload(GOOD), world.upload(GOOD, "incoming/traffic/copy.csv")
    assert world.judge_upload(newer).outcome == "ACCEPTED"
    before = world.work()
    late = world.judge_upload(older)
    assert late.outcome == "ACCEPTED", "the order of uploads may be another one now: a run is asked for"
    assert late.announcement.upload_key == "incoming/traffic/march.csv"
    assert world.work() == before + 1
    assert [upload.key for upload in world.ledger.uploads("traffic")] == ["incoming/traffic/march.csv"]
    assert (world.judge_upload(newer).outcome, world.judge_upload(older).outcome) == ("DUPLICATE", "ACCEPTED")
    assert world.work() == before + 1


def test_a_new_contract_judges_the_same_bytes_anew(world: World) -> None:
    assert world.judge(BAD).outcome == "REJECTED"
    columns = {
        name: {"type": "string" if name == "traffic_volume" else rule.type}
        for name, rule in samples.definition().data.columns.items()
    }
    data = DataSection.model_validate({**samples.definition().data.model_dump(mode="json"), "columns": columns})
    world.apply(samples.compiled(data=data))
    assert world.judge(BAD, "incoming/traffic/again.csv").outcome == "ACCEPTED"


def test_a_file_for_an_unknown_pipeline_is_rejected_and_judged_once_the_pipeline_exists(world: World) -> None:
    event = world.upload(GOOD, "incoming/trafic/march.csv")
    result = world.judge_upload(event)
    assert (result.outcome, result.pipeline) == ("REJECTED", "trafic")
    assert result.finding is not None
    assert result.finding.what == "There is no pipeline 'trafic'."
    assert world.ledger.verdict("trafic", result.verdict_id) is not None
    assert world.ledger.objects("trafic") == {}
    world.apply(samples.compiled(name="trafic"))
    assert world.judge_upload(event).outcome == "ACCEPTED"


def test_a_file_in_no_pipelines_folder_is_rejected(world: World) -> None:
    result = world.judge(GOOD, "incoming/march.csv")
    assert (result.outcome, result.pipeline) == ("REJECTED", NO_PIPELINE)
    assert result.finding is not None
    assert result.finding.where == "incoming/march.csv"
    assert world.ledger.verdict(NO_PIPELINE, result.verdict_id) is not None


def test_a_folder_is_ignored_but_recorded_and_an_empty_file_is_rejected(world: World) -> None:
    assert world.judge("", "incoming/traffic/").outcome == "IGNORED"
    assert ("incoming/traffic/", "v1") in world.ledger.objects("traffic")
    empty = world.judge("", "incoming/traffic/march.csv")
    assert empty.outcome == "REJECTED"
    assert empty.finding is not None
    assert empty.finding.what == "The file is empty."


def test_a_broken_definition_or_a_missing_object_is_our_error_and_leaves_no_verdict(world: World) -> None:
    event = world.upload(GOOD)
    reference = samples.definition_ref()
    world.store.write(reference.uri, json.dumps({"definition": {}}).encode())
    with pytest.raises(DefinitionInvalidError, match="apply the pipeline again"):
        world.judge_upload(event)
    world.store.write(reference.uri, b"{")
    with pytest.raises(DefinitionInvalidError):
        world.judge_upload(event)
    world.store.remove(f"s3://{samples.DATA}/incoming/traffic/march.csv")
    with pytest.raises(ObjectMissingError):
        world.judge_upload(event)
    assert world.ledger.verdicts("traffic") == []


def test_the_verdict_is_written_last(world: World) -> None:
    """What a dying attempt leaves behind is overwritten by the next, and nobody reads it meanwhile."""

    class Dies(MemoryLedger):
        def accept(self, pipeline: str, verdict: Verdict) -> bool:
            assert verdict.accepted_uri
            assert world.store.exists(verdict.accepted_uri)
            assert world.store.exists(verdict.report_uri or "")
            raise TimeoutError

    ledger = Dies()
    ledger.apply_definition("traffic", samples.definition_ref())
    with pytest.raises(TimeoutError):
        JudgeUpload(ledger, world.store, world._count, lambda: samples.NOW)(world.upload(GOOD))


def test_the_verdicts_identity_is_that_of_the_contract(world: World) -> None:
    result = world.judge(GOOD)
    assert result.verdict_id == verdict_id(result.upload_id, samples.definition_ref().data_hash)


@pytest.mark.parametrize(
    ("key", "pipeline"),
    [
        pytest.param("incoming/traffic/x.csv", "traffic", id="plain"),
        pytest.param("incoming/traffic/2017/März + 1.csv", "traffic", id="deeper, with odd characters"),
        pytest.param("incoming/x.csv", None, id="no folder"),
        pytest.param("incoming//x.csv", None, id="nameless folder"),
        pytest.param("accepted/traffic/x.parquet", None, id="elsewhere"),
        pytest.param("incoming/", None, id="the folder itself"),
    ],
)
def test_the_pipeline_is_the_folder_below_incoming(key: str, pipeline: str | None) -> None:
    assert pipeline_of(key) == pipeline
