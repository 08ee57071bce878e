"""Files to score: each version once, the newest one's predictions stand, and what fails is kept with its reason."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ratchet.contracts.base import Finding
from ratchet.contracts.score import QueueMessage, ScoredFile
from ratchet.domain.data_contract import DataSection
from ratchet.domain.errors import FileUnscorableError, ModelFailedError
from ratchet.domain.ports import Scored
from ratchet.domain.predicting import ServingContracts
from ratchet.domain.scoring import ScoreBatch, ScoreFile
from ratchet.domain.waking import Wake
from tests.unit import samples
from tests.unit.fakes import FakePredictions
from tests.unit.world import ENDPOINT, World

BAD = Finding(what="Row 3 is bad.", where="line 3, column temp", why="It is cold.", fix="Warm it.")


@dataclass
class Bucket:
    """The data bucket, as far as scoring sees it."""

    world: World
    made: dict[str, tuple[Scored, str]] = field(default_factory=dict)
    before_put: list[Callable[[], object]] = field(default_factory=list)

    def upload(self, key: str, content: bytes = b"1") -> str:
        return self.world.store.write(f"s3://{samples.DATA}/{key}", content).version_id

    def source_of(self, key: str) -> Scored | None:
        return self.made[key][0] if key in self.made else None

    def latest_version(self, key: str) -> str | None:
        versions = list(self.world.store.versions(samples.DATA, key))
        return versions[-1].version_id if versions else None

    def put(self, path: Path, key: str, version_id: str, model: str, replaces: Scored | None) -> bool:
        if self.before_put:
            self.before_put.pop()()
        if self.source_of(key) != replaces:
            return False
        self.made[key] = Scored(f"etag-{version_id}-{len(self.made)}", version_id), path.read_text()
        return True


@dataclass
class Letters:
    buried: list[tuple[str, str, str]] = field(default_factory=list)
    postponed: list[tuple[str, int]] = field(default_factory=list)

    def bury(self, body: str, code: str, message: str) -> None:
        self.buried.append((body, code, message))

    def postpone(self, receipt: str, seconds: int) -> None:
        self.postponed.append((receipt, seconds))


def score(
    file: Path,
    data: DataSection,
    answers: Callable[[Sequence[dict[str, Any]]], Sequence[dict[str, Any]]],
    into: Path,
) -> int:
    """A file holds a number of rows; `bad` breaks the contract."""
    content = file.read_text()
    if content == "bad":
        raise FileUnscorableError(BAD)
    into.write_text(f"predictions of {content}")
    return len(answers([{} for _ in range(int(content))]))


@dataclass
class Case:
    world: World
    bucket: Bucket
    letters: Letters
    predictions: FakePredictions
    told: list[ScoredFile]
    batch: ScoreBatch

    def message(self, key: str, version: str, receives: int = 1, size: int = 1) -> QueueMessage:
        record = {"s3": {"bucket": {"name": samples.DATA}, "object": {"key": key, "versionId": version, "size": size}}}
        return self.of(json.dumps({"Records": [record]}), receives)

    def of(self, body: str, receives: int = 1) -> QueueMessage:
        return QueueMessage.model_validate(
            {
                "messageId": f"m{len(body)}-{receives}",
                "receiptHandle": "receipt",
                "body": body,
                "attributes": {"ApproximateReceiveCount": receives},
            }
        )

    def outcomes(self, *messages: QueueMessage) -> list[str]:
        assert self.batch(messages).batchItemFailures == ()
        return [file.outcome for file in self.told]


@pytest.fixture
def case() -> Case:
    world = World()
    world.apply()
    world.accept()
    world.deployed()
    bucket, letters, predictions = Bucket(world), Letters(), FakePredictions({ENDPOINT})
    contracts = ServingContracts(world.ledger, world.store, samples.ARTIFACTS)
    wake = Wake(world.ledger, world.endpoints)
    told: list[ScoredFile] = []
    score_file = ScoreFile(world.store, bucket, contracts, predictions, wake, score)
    return Case(world, bucket, letters, predictions, told, ScoreBatch(score_file, letters, 5, told.append))


def test_a_file_becomes_predictions_under_the_same_name(case: Case) -> None:
    version = case.bucket.upload("score/traffic/Straße A+B/März.csv", b"3")
    message = case.message("score/traffic/Stra%C3%9Fe+A%2BB/M%C3%A4rz.csv", version)
    assert case.outcomes(message) == ["SCORED"]
    assert case.bucket.made["scored/traffic/Straße A+B/März.csv"][1] == "predictions of 3"
    assert (case.told[0].rows, case.told[0].model) == (3, "ratchet-dev-traffic-g1")


def test_a_version_is_scored_once_however_often_it_is_announced(case: Case) -> None:
    message = case.message("score/traffic/a.csv", case.bucket.upload("score/traffic/a.csv"))
    assert case.outcomes(message, message, message) == ["SCORED", "KNOWN", "KNOWN"]
    assert len(case.predictions.asked) == 1


def test_two_at_the_same_time_leave_one_file(case: Case) -> None:
    message = case.message("score/traffic/a.csv", case.bucket.upload("score/traffic/a.csv"))
    case.bucket.before_put.append(lambda: case.batch((message,)))
    assert case.outcomes(message) == ["SCORED", "KNOWN"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_newest_version_stands_in_whatever_order_they_are_announced(case: Case, order: tuple[int, int]) -> None:
    versions = [case.bucket.upload("score/traffic/a.csv", content) for content in (b"1", b"2")]
    messages = [case.message("score/traffic/a.csv", version) for version in versions]
    assert sorted(case.outcomes(*(messages[place] for place in order))) == ["SCORED", "SUPERSEDED"]
    assert case.bucket.made["scored/traffic/a.csv"][1] == "predictions of 2"


def test_a_version_that_arrives_while_the_one_before_is_scored_wins(case: Case) -> None:
    first = case.message("score/traffic/a.csv", case.bucket.upload("score/traffic/a.csv", b"1"))

    def overtake() -> None:
        case.batch((case.message("score/traffic/a.csv", case.bucket.upload("score/traffic/a.csv", b"2")),))

    case.bucket.before_put.append(overtake)
    assert case.outcomes(first) == ["SCORED", "SUPERSEDED"]
    assert case.bucket.made["scored/traffic/a.csv"][1] == "predictions of 2"


def test_a_later_version_replaces_the_predictions(case: Case) -> None:
    for content in (b"1", b"2"):
        case.batch((case.message("score/traffic/a.csv", case.bucket.upload("score/traffic/a.csv", content)),))
    assert case.bucket.made["scored/traffic/a.csv"][1] == "predictions of 2"


def test_a_bad_file_is_buried_at_once_with_what_is_wrong_and_where(case: Case) -> None:
    version = case.bucket.upload("score/traffic/a.csv", b"bad")
    assert case.outcomes(case.message("score/traffic/a.csv", version)) == []
    ((body, code, said),) = case.letters.buried
    assert json.loads(body)["Records"][0]["s3"]["object"]["versionId"] == version
    assert (code, said) == (
        "FileUnscorable",
        "Row 3 is bad. Where: line 3, column temp. It is cold. Warm it.",
    )


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("score/nobody/a.csv", "PipelineUnknown"),
        ("score/a.csv", "FileUnscorable"),
        ("score/traffic/", "FileUnscorable"),
        ("score/Traffic/../a.csv", "PipelineUnknown"),
    ],
)
def test_what_belongs_to_no_pipeline_is_buried(case: Case, key: str, code: str) -> None:
    version = case.bucket.upload(key)
    case.outcomes(case.message(key, version))
    assert [letter[1] for letter in case.letters.buried] == [code]


def test_a_pipeline_without_a_model_is_no_reason_to_try_again(case: Case) -> None:
    other = samples.compiled(name="other")
    reference = samples.definition_ref(other)
    case.world.ledger.apply_definition("other", reference)
    case.outcomes(case.message("score/other/a.csv", case.bucket.upload("score/other/a.csv")))
    assert [letter[1] for letter in case.letters.buried] == ["ModelMissing"]


def test_a_version_that_was_deleted_is_nobodys_loss(case: Case) -> None:
    assert case.outcomes(case.message("score/traffic/gone.csv", "v1")) == ["SUPERSEDED"]


def test_folders_and_s3s_own_test_message_are_passed_over(case: Case) -> None:
    assert case.outcomes(case.of('{"Event": "s3:TestEvent"}')) == []
    version = case.bucket.upload("score/traffic/folder/", b"")
    assert case.outcomes(case.message("score/traffic/folder/", version, size=0)) == ["IGNORED"]
    assert case.letters.buried == []


@pytest.mark.parametrize("body", ["hello", "[]", '{"Records": 3}', '{"Records": [{"s3": {}}]}', '{"Records": [7]}'])
def test_a_message_that_is_no_notification_is_buried(case: Case, body: str) -> None:
    assert case.outcomes(case.of(body)) == []
    assert len(case.letters.buried) == 1


def test_what_may_succeed_later_stays_and_the_others_of_the_batch_do_not(case: Case) -> None:
    good, bad = (case.bucket.upload(f"score/traffic/{name}.csv") for name in ("good", "bad"))
    case.predictions.error = ModelFailedError("it broke")
    late = case.message("score/traffic/bad.csv", bad, receives=3)
    assert [item.itemIdentifier for item in case.batch((late,)).batchItemFailures] == [late.message_id]
    assert case.letters.postponed == [("receipt", 80)]
    case.predictions.error = None
    assert case.outcomes(case.message("score/traffic/good.csv", good)) == ["SCORED"]
    assert case.letters.buried == []


def test_the_last_failure_is_buried_with_its_reason(case: Case) -> None:
    case.predictions.error = ModelFailedError("the model at ratchet-dev-traffic failed to predict")
    version = case.bucket.upload("score/traffic/a.csv")
    assert case.outcomes(case.message("score/traffic/a.csv", version, receives=5)) == []
    ((_, code, said),) = case.letters.buried
    assert (code, said) == ("ModelFailed", "the model at ratchet-dev-traffic failed to predict")


def test_a_sleeping_champion_is_started_for_a_file(case: Case) -> None:
    case.predictions.endpoints.clear()
    case.world.endpoints.delete(ENDPOINT)
    message = case.message("score/traffic/a.csv", case.bucket.upload("score/traffic/a.csv"))
    assert len(case.batch((message,)).batchItemFailures) == 1
    assert case.world.endpoints.calls[-1].startswith(f"create {ENDPOINT}")
    case.predictions.endpoints.add(ENDPOINT)
    assert case.outcomes(message) == ["SCORED"]
