"""An announcement, or an alarm, as a text message for people."""

import re
import unicodedata

from ratchet.contracts.notify import AlarmDetail
from ratchet.contracts.run import Announcement

SUBJECT_LENGTH = 100  # SNS: fewer than 100 ASCII characters, no line breaks or control characters

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def subject_of(stage: str, announcement: Announcement) -> str:
    """The announcement's subject, as SNS takes it."""
    return subject_line(stage, announcement.subject)


def subject_line(stage: str, subject: str) -> str:
    """One ASCII line that fits SNS."""
    text = f"[{stage}] {subject}"
    letters = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    line = " ".join(_clean(letters.encode("ascii", "replace").decode()).split())
    return line if len(line) < SUBJECT_LENGTH else f"{line[: SUBJECT_LENGTH - 4]}..."


def message_of(announcement: Announcement) -> str:
    """The sentence, the four answers, the numbers and where to read on."""
    lines = [announcement.sentence]
    if finding := announcement.finding:
        lines += [
            "",
            f"What:  {finding.what}",
            f"Where: {finding.where}",
            f"Why:   {finding.why}",
            f"Fix:   {finding.fix}",
        ]
    about = {"Pipeline": announcement.pipeline, "Run": announcement.run_id, "Upload": announcement.upload_key}
    lines += ["", *(f"{name}: {value}" for name, value in about.items() if value)]
    if announcement.numbers:
        lines += ["", *(f"{name}: {value:.6g}" for name, value in announcement.numbers.items())]
    if announcement.links:
        lines += ["", *(f"{name}: {value}" for name, value in announcement.links.items())]
    return "\n".join(_one_line(line) for line in lines) + "\n"


def alarm_message_of(alarm: AlarmDetail) -> str:
    """What the alarm means and where its runbook entry is, then CloudWatch's own reason."""
    lines = [alarm.configuration.description or "The alarm has no description.", "", f"Alarm: {alarm.alarm_name}"]
    if alarm.state.reason:
        lines.append(f"Why:   {alarm.state.reason}")
    return "\n".join(_one_line(line) for line in lines) + "\n"


def _one_line(text: str) -> str:
    """A value from a file cannot add lines that look like ours."""
    return _clean(text.replace("\r", " ").replace("\n", " "))


def _clean(text: str) -> str:
    return _CONTROL.sub("", text)
