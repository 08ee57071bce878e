"""What notify reads: Ratchet's own events on the custom bus, and CloudWatch's alarms."""

from typing import Literal

from pydantic import Field

from ratchet.contracts.base import Contract, ForeignContract
from ratchet.contracts.run import Announcement


class AnnouncementEvent(ForeignContract):
    """The EventBridge envelope of an announcement."""

    detail_type: str = Field(alias="detail-type")
    detail: Announcement


class AlarmState(ForeignContract):
    """`detail.state` of an alarm's event."""

    value: str  # ALARM | OK | INSUFFICIENT_DATA
    reason: str = ""


class AlarmConfiguration(ForeignContract):
    """`detail.configuration`; the description names the alarm's entry in the runbook."""

    description: str = ""


class AlarmDetail(ForeignContract):
    """`detail` of "CloudWatch Alarm State Change"."""

    alarm_name: str = Field(alias="alarmName")
    state: AlarmState
    configuration: AlarmConfiguration = Field(default_factory=AlarmConfiguration)


class AlarmEvent(ForeignContract):
    """An alarm has changed its state."""

    detail_type: Literal["CloudWatch Alarm State Change"] = Field(alias="detail-type")
    detail: AlarmDetail


class NotifyResult(Contract):
    """What was published."""

    subject: str
