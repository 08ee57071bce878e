"""Notify: people get the message, whatever carries it."""

from dataclasses import dataclass

from ratchet.contracts.notify import AlarmEvent, AnnouncementEvent, NotifyResult
from ratchet.domain.message import alarm_message_of, message_of, subject_line, subject_of
from ratchet.domain.ports import Topic


@dataclass(frozen=True)
class Notify:
    """Publishes an announcement or an alarm; subscribers may filter by kind, announcements also by pipeline."""

    topic: Topic
    stage: str

    def __call__(self, event: AnnouncementEvent | AlarmEvent) -> NotifyResult:
        if isinstance(event, AlarmEvent):
            return self._tell_alarm(event)
        subject = subject_of(self.stage, event.detail)
        attributes = {"pipeline": event.detail.pipeline, "kind": event.detail_type}
        self.topic.publish(subject, message_of(event.detail), attributes)
        return NotifyResult(subject=subject)

    def _tell_alarm(self, event: AlarmEvent) -> NotifyResult:
        subject = subject_line(self.stage, f"{event.detail.state.value}: {event.detail.alarm_name}")
        self.topic.publish(subject, alarm_message_of(event.detail), {"kind": "Alarm"})
        return NotifyResult(subject=subject)
