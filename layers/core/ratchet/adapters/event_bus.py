"""The custom event bus."""

from typing import TYPE_CHECKING

import boto3

from ratchet.adapters.aws import CLIENT_CONFIG, busy_errors
from ratchet.contracts.run import Announcement
from ratchet.domain.errors import DependencyBusyError

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

SOURCE = "ratchet"


class EventBus:
    """The Publisher port over EventBridge."""

    def __init__(self, bus_name: str, client: "EventBridgeClient | None" = None) -> None:
        self._bus = bus_name
        self._events: EventBridgeClient = client or boto3.client("events", config=CLIENT_CONFIG)

    def announce(self, detail_type: str, announcement: Announcement) -> None:
        entry: PutEventsRequestEntryTypeDef = {
            "EventBusName": self._bus,
            "Source": SOURCE,
            "DetailType": detail_type,
            "Detail": announcement.model_dump_json(),
        }
        with busy_errors():
            answer = self._events.put_events(Entries=[entry])
        if answer["FailedEntryCount"]:  # PutEvents answers 200 for entries it did not take
            raise DependencyBusyError(f"the event bus refused an event: {answer['Entries'][0].get('ErrorMessage')}")
