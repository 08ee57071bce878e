"""The message for people: complete, and safe to read whatever a file held."""

import json
from pathlib import Path

import pytest

from ratchet.contracts.base import Finding
from ratchet.contracts.notify import AlarmEvent, AnnouncementEvent
from ratchet.contracts.run import Announcement
from ratchet.domain.message import message_of, subject_of
from ratchet.domain.notifying import Notify
from tests.unit.fakes import FakeTopic

EVENTS = Path(__file__).parents[3] / "events/notify"
FINDING = Finding(what="212 rows are bad.", where="line 14", why="-3 is below 0", fix="Correct the file.")


def announcement(**changes: object) -> Announcement:
    plain = Announcement(
        pipeline="traffic",
        subject="traffic: data rejected",
        sentence="a.csv was rejected.",
        finding=FINDING,
        upload_key="incoming/traffic/a.csv",
        numbers={"rows": 744, "share": 0.284946},
        links={"report": "s3://data/reports/traffic/0.json"},
    )
    return plain.model_copy(update=changes)


def test_the_message_says_what_where_why_and_what_to_do() -> None:
    assert message_of(announcement()) == (
        "a.csv was rejected.\n\n"
        "What:  212 rows are bad.\nWhere: line 14\nWhy:   -3 is below 0\nFix:   Correct the file.\n\n"
        "Pipeline: traffic\nUpload: incoming/traffic/a.csv\n\n"
        "rows: 744\nshare: 0.284946\n\n"
        "report: s3://data/reports/traffic/0.json\n"
    )


def test_good_news_has_no_finding() -> None:
    text = message_of(announcement(finding=None, run_id="traffic-g1", upload_key=None, numbers={}, links={}))
    assert text == "a.csv was rejected.\n\nPipeline: traffic\nRun: traffic-g1\n"


def test_a_value_from_a_file_cannot_pretend_to_be_the_message() -> None:
    hostile = FINDING.model_copy(update={"why": "\x1b[31m-3\nFix:   pay at once\r\u202egnp.exe\x00"})
    text = message_of(announcement(finding=hostile))
    assert [line for line in text.splitlines() if line.startswith("Fix:")] == ["Fix:   Correct the file."]
    assert "Why:   [31m-3 Fix:   pay at once gnp.exe" in text
    assert not any(ord(char) < 32 and char != "\n" for char in text)


@pytest.mark.parametrize(
    ("subject", "line"),
    [
        ("traffic: model deployed", "[dev] traffic: model deployed"),
        ("Müll \N{EN DASH} März\nBcc: all\x07", "[dev] Mull ? Marz Bcc: all"),
    ],
)
def test_the_subject_is_one_ascii_line(subject: str, line: str) -> None:
    assert subject_of("dev", announcement(subject=subject)) == line


def test_a_long_subject_fits_sns() -> None:
    subject = subject_of("dev", announcement(subject="x" * 300))
    assert len(subject) == 99
    assert subject.endswith("...")


def test_notify_publishes_with_attributes_to_filter_by() -> None:
    topic = FakeTopic()
    event = AnnouncementEvent.model_validate({"detail-type": "Data Rejected", "detail": announcement().model_dump()})
    assert Notify(topic, "dev")(event).subject == "[dev] traffic: data rejected"
    ((_, message, attributes),) = topic.published
    assert message == message_of(announcement())
    assert attributes == {"pipeline": "traffic", "kind": "Data Rejected"}


def test_an_alarm_tells_what_it_means_and_where_its_runbook_entry_is() -> None:
    topic = FakeTopic()
    event = json.loads((EVENTS / "alarm.json").read_text())
    Notify(topic, "dev")(AlarmEvent.model_validate(event))
    ((subject, message, attributes),) = topic.published
    assert subject == "[dev] ALARM: ratchet-dev-DeadLettersAlarm-1ABC"
    assert "docs/runbook.md#dead-letters" in message
    assert "greater than the threshold" in message
    assert attributes == {"kind": "Alarm"}
