"""The CloudWatch alarms that watch over a deployment, asked as the endpoint's execution role, as SageMaker does."""

from botocore.exceptions import BotoCoreError, ClientError

from local.host import Scope
from local.sagemaker.context import Context


class AlarmWatch:
    """The alarms of an auto-rollback configuration."""

    def __init__(self, ctx: Context, scope: Scope, role_arn: str, names: tuple[str, ...]) -> None:
        self._ctx = ctx
        self._scope = scope
        self._role_arn = role_arn
        self._names = names

    def objection(self) -> str:
        """Why the deployment must be rolled back; empty when no alarm objects."""
        if not self._names:
            return ""
        try:
            states = self._states()
        except (ClientError, BotoCoreError) as error:
            return f"The alarms of the auto-rollback configuration could not be read: {error}"
        if unknown := [name for name in self._names if name not in states]:
            return f"The alarms of the auto-rollback configuration do not exist: {', '.join(unknown)}."
        if raised := [name for name in self._names if states[name] == "ALARM"]:
            return f"Auto-rollback: the following CloudWatch alarms went into ALARM state: {', '.join(raised)}."
        return ""

    def _states(self) -> dict[str, str]:
        client = self._ctx.host.client(self._scope, "cloudwatch", self._role_arn)
        answer = client.describe_alarms(AlarmNames=list(self._names), AlarmTypes=["MetricAlarm", "CompositeAlarm"])
        alarms = [*answer.get("MetricAlarms", []), *answer.get("CompositeAlarms", [])]
        return {alarm["AlarmName"]: alarm["StateValue"] for alarm in alarms}
