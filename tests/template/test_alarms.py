"""Every alarm watches what exists, has its entry in the runbook, and people are told of it."""

import json
import re
from typing import Any

import pytest

from tests.template.reading import ROOT, reference, resources, template

RUNBOOK = (ROOT / "docs/runbook.md").read_text()
ALARMS = resources("AWS::CloudWatch::Alarm")
ANCHORS = {heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.+)$", RUNBOOK, re.MULTILINE)}


def watched(alarm: str) -> list[Any]:
    """What the alarm's metrics are measured of: the logical ids in their dimensions."""
    metrics = [metric["MetricStat"]["Metric"] for metric in ALARMS[alarm]["Metrics"] if "MetricStat" in metric]
    return [reference(dimension["Value"]) for metric in metrics for dimension in metric["Dimensions"]]


@pytest.mark.parametrize("alarm", sorted(ALARMS))
def test_an_alarm_says_what_it_means_and_where_to_read_on(alarm: str) -> None:
    said = re.fullmatch(r".+\. Runbook: docs/runbook\.md#([a-z-]+)", ALARMS[alarm]["AlarmDescription"])
    assert said is not None
    assert said[1] in ANCHORS


@pytest.mark.parametrize("alarm", sorted(ALARMS))
def test_silence_is_no_alarm(alarm: str) -> None:
    assert ALARMS[alarm]["TreatMissingData"] == "notBreaching"


def test_every_entry_of_the_runbook_has_its_alarm() -> None:
    linked = {alarm["AlarmDescription"].rpartition("#")[2] for alarm in ALARMS.values()}
    assert ANCHORS - linked == {"endpoint-alarms"}  # made and removed with each endpoint, by deploy_endpoint


def test_every_workflow_is_watched_in_every_way_that_it_ends_badly() -> None:
    machines = set(resources("AWS::Serverless::StateMachine"))
    assert sorted(watched("WorkflowsFailedAlarm")) == sorted([*machines] * 3)


@pytest.mark.parametrize("alarm", ["DeadLettersAlarm", "DeadLettersOldAlarm"])
def test_every_dead_letter_queue_is_watched(alarm: str) -> None:
    queues = [name for name in resources("AWS::SQS::Queue") if name.endswith("DeadLetterQueue")]
    assert sorted(watched(alarm)) == sorted(queues)


def test_a_dead_letter_is_old_before_it_is_lost() -> None:
    kept = {queue["MessageRetentionPeriod"] for queue in resources("AWS::SQS::Queue").values()}
    assert ALARMS["DeadLettersOldAlarm"]["Threshold"] < min(kept)


@pytest.mark.parametrize("alarm", sorted(name for name, alarm in ALARMS.items() if "Metrics" in alarm))
def test_an_alarm_asks_for_no_more_metrics_than_cloudwatch_allows(alarm: str) -> None:
    assert len([metric for metric in ALARMS[alarm]["Metrics"] if "MetricStat" in metric]) <= 10


@pytest.mark.parametrize("alarm", sorted(name for name, alarm in ALARMS.items() if alarm.get("Namespace") == "Ratchet"))
def test_an_alarm_on_our_own_metric_watches_one_that_functions_emit(alarm: str) -> None:
    service = template()["Globals"]["Function"]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
    assert ALARMS[alarm]["Dimensions"] == [{"Name": "service", "Value": service}]
    core = ROOT / "layers/core/ratchet"
    sources = [*(ROOT / "functions").glob("*/app.py"), core / "observability.py", core / "http_door.py"]
    emitted = {name for source in sources for name in re.findall(r'alarm\("(\w+)"', source.read_text())}
    assert ALARMS[alarm]["MetricName"] in emitted


def test_people_are_told_of_alarms() -> None:
    pattern = resources("AWS::Serverless::Function")["NotifyFunction"]["Events"]["Alarmed"]["Properties"]["Pattern"]
    assert pattern["detail-type"] == ["CloudWatch Alarm State Change"]
    assert pattern["detail"]["state"] == {"value": ["ALARM"]}


def test_the_dashboard_is_json_and_names_what_exists() -> None:
    body = resources("AWS::CloudWatch::Dashboard")["Dashboard"]["DashboardBody"]["Fn::Sub"]
    known = {**template()["Parameters"], **template()["Resources"]}
    assert set(re.findall(r"\$\{(\w+)\}", body)) <= known.keys()
    widgets = json.loads(re.sub(r"\$\{[\w:]+\}", "x", body))["widgets"]
    assert len({widget["properties"]["title"] for widget in widgets}) == len(widgets) >= 10
