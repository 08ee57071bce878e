"""Notify: people get the message, whatever carries it."""

from dataclasses import dataclass

from ratchet.contracts.notify import AnnouncementEvent, NotifyResult
from ratchet.domain.message import message_of, subject_of
from ratchet.domain.ports import Topic


@dataclass(frozen=True)
class Notify:
    """Publishes an announcement; subscribers may filter by pipeline and kind."""

    topic: Topic
    stage: str

    def __call__(self, event: AnnouncementEvent) -> NotifyResult:
        subject = subject_of(self.stage, event.detail)
        attributes = {"pipeline": event.detail.pipeline, "kind": event.detail_type}
        self.topic.publish(subject, message_of(event.detail), attributes)
        return NotifyResult(subject=subject)
