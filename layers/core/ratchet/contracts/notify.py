"""What notify reads: Ratchet's own events on the custom bus."""

from pydantic import Field

from ratchet.contracts.base import Contract, ForeignContract
from ratchet.contracts.run import Announcement


class AnnouncementEvent(ForeignContract):
    """The EventBridge envelope of an announcement."""

    detail_type: str = Field(alias="detail-type")
    detail: Announcement


class NotifyResult(Contract):
    """What was published."""

    subject: str
