"""`ratchet apply`: stored by content, idempotent, and never without its consequences."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.apply import Applied, Code, apply_definition
from cli.bundles import Bundle
from cli.compiled import holidays_of
from cli.definition import read_definition
from cli.main import app
from cli.stack import Stack
from local.cloud.settings import REPOSITORY
from ratchet.domain.definition import CompiledDefinition
from ratchet.domain.errors import DefinitionInvalidError
from ratchet.domain.ledger import Upload, Verdict
from tests.unit.cli.conftest import FakeFunctions

TRAFFIC = REPOSITORY / "pipelines/traffic"
CODE = Code(Bundle("model.tar.gz", b"model"), Bundle("preprocess.py", b"script"), Bundle("narwhals.whl", b"wheel"))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def apply_traffic(stack: Stack, *settings: str, code: Code = CODE) -> Applied:
    return apply_definition(stack, read_definition(TRAFFIC, settings), code)


def upload_accepted(stack: Stack) -> None:
    state = stack.pipeline("traffic")
    assert state.definition
    seen = Upload(upload_id="u1", key="incoming/traffic/a.csv", version_id="v1", modified=NOW, size=1)
    stack.ledger.record_object("traffic", seen)
    verdict = Verdict(
        verdict_id="d1",
        upload_id="u1",
        data_hash=state.definition.data_hash,
        outcome="ACCEPTED",
        key=seen.key,
        version_id="v1",
        judged_at=NOW,
    )
    assert stack.ledger.accept("traffic", verdict)


def objects(stack: Stack, prefix: str) -> list[str]:
    listed = stack.s3.list_objects_v2(Bucket="artifacts", Prefix=prefix).get("Contents", [])
    return [entry["Key"] for entry in listed]


def schedule(stack: Stack) -> Any:
    return stack.scheduler.get_schedule(Name="ratchet-dev-traffic", GroupName="ratchet-dev")


def test_the_stored_definition_is_what_runs_read(stack: Stack) -> None:
    applied = apply_traffic(stack)
    (key,) = objects(stack, "definitions/")
    assert key == f"definitions/traffic/{applied.definition_id}.json"
    stored = stack.s3.get_object(Bucket="artifacts", Key=key)["Body"].read()
    compiled = CompiledDefinition.model_validate_json(stored)
    assert compiled.image_uri == stack.outputs.training_image_uri
    assert "2017-07-04" in compiled.holidays["US"]
    assert sorted(objects(stack, "bundles/")) == sorted(bundle.key for bundle in CODE.bundles)
    state = stack.pipeline("traffic")
    assert state.definition
    assert (state.definition.uri, state.definition.settle_seconds) == (f"s3://artifacts/{key}", 60)


def test_the_same_definition_again_changes_nothing(stack: Stack, functions: FakeFunctions) -> None:
    first, again = apply_traffic(stack), apply_traffic(stack)
    assert (first.changed, again.changed) == (True, False)
    assert again.definition_id == first.definition_id
    assert stack.pipeline("traffic").work_seq == 1
    assert functions.asked == []


def test_changed_code_is_a_new_definition(stack: Stack) -> None:
    first = apply_traffic(stack)
    other = apply_traffic(stack, code=Code(Bundle("model.tar.gz", b"other"), CODE.preprocess, CODE.wheel))
    assert other.changed
    assert other.definition_id != first.definition_id


def test_a_new_definition_starts_a_run_when_there_is_data(stack: Stack, functions: FakeFunctions) -> None:
    assert apply_traffic(stack).run is None
    upload_accepted(stack)
    applied = apply_traffic(stack, "gate.threshold=0.8")
    assert applied.run
    assert applied.run.started
    assert functions.asked == [("start-run", {"pipeline": "traffic", "reason": "event", "forced": False})]


def test_a_new_contract_judges_the_uploads_anew(stack: Stack, functions: FakeFunctions) -> None:
    apply_traffic(stack)
    upload_accepted(stack)
    applied = apply_traffic(stack, "data.min_rows=50")
    assert (applied.contract_changed, applied.judged_anew, applied.run) == (True, True, None)
    assert [name for name, _ in functions.asked] == ["reconcile"]


def test_a_new_contract_without_uploads_needs_nobody(stack: Stack, functions: FakeFunctions) -> None:
    apply_traffic(stack)
    applied = apply_traffic(stack, "data.min_rows=50")
    assert (applied.contract_changed, applied.judged_anew) == (True, False)
    assert functions.asked == []


def test_the_schedule_is_made_changed_and_removed(stack: Stack) -> None:
    apply_traffic(stack)
    made = schedule(stack)
    assert (made["ScheduleExpression"], made["ScheduleExpressionTimezone"]) == ("cron(0 2 * * ? *)", "UTC")
    assert made["Target"]["Arn"] == stack.outputs.start_run_function_arn
    assert made["Target"]["DeadLetterConfig"]["Arn"] == stack.outputs.scheduler_dead_letter_queue_arn
    assert json.loads(made["Target"]["Input"]) == {"pipeline": "traffic", "reason": "schedule", "forced": False}
    apply_traffic(stack, "retrain.schedule=rate(1 day)", "retrain.timezone=Europe/Berlin")
    changed = schedule(stack)
    assert (changed["ScheduleExpression"], changed["ScheduleExpressionTimezone"]) == ("rate(1 day)", "Europe/Berlin")
    for _ in range(2):
        apply_traffic(stack, "retrain.schedule=null")
        with pytest.raises(stack.scheduler.exceptions.ResourceNotFoundException):
            schedule(stack)


def test_nothing_is_stored_of_what_aws_would_refuse(stack: Stack) -> None:
    with pytest.raises(DefinitionInvalidError, match=r"AWS would refuse the definition of traffic(.|\n)*timezone"):
        apply_traffic(stack, "retrain.timezone=Nowhere")
    assert objects(stack, "") == []
    assert stack.ledger.pipeline("traffic") is None


def test_holidays_of_a_region_and_of_nowhere() -> None:
    regional = read_definition(TRAFFIC, ["features.calendar=[hour, 'holiday:DE-BY', 'holiday:US']"])
    found = holidays_of(regional)
    assert list(found) == ["DE-BY", "US"]
    assert "2024-01-06" in found["DE-BY"]
    assert found["US"][0].startswith("1990-")
    nowhere = read_definition(TRAFFIC, ["features.calendar=['holiday:XQ']"])
    with pytest.raises(DefinitionInvalidError, match="no holidays are known for XQ"):
        holidays_of(nowhere)


def test_the_command_says_what_it_did(stack: Stack, runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Code, "pack", classmethod(lambda cls: CODE))
    first = runner.invoke(app, ["apply", str(TRAFFIC)])
    assert first.exit_code == 0
    assert "traffic has a new definition" in first.stdout
    again = runner.invoke(app, ["apply", str(TRAFFIC), "--json"])
    assert json.loads(again.stdout)["changed"] is False


def test_a_wrong_folder_is_one_paragraph(stack: Stack, runner: CliRunner, tmp_path: Path) -> None:
    ended = runner.invoke(app, ["apply", str(tmp_path)])
    assert ended.exit_code == 1
    assert ended.stderr.startswith("Error: There is no pipeline.yaml in")
    assert "Traceback" not in ended.output
