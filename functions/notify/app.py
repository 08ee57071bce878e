"""Tells people: an announcement from the bus, or an alarm, becomes a message on the topic."""

from ratchet.adapters.sns_topic import SnsTopic
from ratchet.contracts.notify import AlarmEvent, AnnouncementEvent, NotifyResult
from ratchet.domain.notifying import Notify
from ratchet.observability import doorway, logger
from ratchet.settings import NotifySettings


def build() -> Notify:
    """The use case over AWS."""
    settings = NotifySettings.load()
    return Notify(topic=SnsTopic(settings.topic_arn), stage=settings.stage)


@doorway(AlarmEvent | AnnouncementEvent, build)
def handler(event: AlarmEvent | AnnouncementEvent, notify: Notify) -> NotifyResult:
    """Publishes the message."""
    result = notify(event)
    logger.info("people told", kind=event.detail_type, subject=result.subject)
    return result
