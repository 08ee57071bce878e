"""The notification topic."""

from typing import TYPE_CHECKING

import boto3

from ratchet.adapters.aws import CLIENT_CONFIG, busy_errors

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient


class SnsTopic:
    """The Topic port over SNS."""

    def __init__(self, topic_arn: str, client: "SNSClient | None" = None) -> None:
        self._topic = topic_arn
        self._sns: SNSClient = client or boto3.client("sns", config=CLIENT_CONFIG)

    def publish(self, subject: str, message: str, attributes: dict[str, str]) -> None:
        with busy_errors():
            self._sns.publish(
                TopicArn=self._topic,
                Subject=subject,
                Message=message,
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
                },
            )
