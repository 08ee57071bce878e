"""T12, T14: alarms follow their own metric, with data and with time, and log lines become metrics."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.cloud.process import Cloud
from local.cloud.repairs.alarm_rules import judge
from tests.integration.cloud.account import Account, until

HOUR = 3600
EMITTER = """
import json, time
def handler(event, context):
    directive = {"Namespace": "Ratchet", "Dimensions": [["pipeline"]], "Metrics": [{"Name": event["metric"]}]}
    document = {"_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}}
    print(json.dumps({**document, "pipeline": "traffic", event["metric"]: event["values"]}))
"""


@pytest.fixture(scope="module")
def account(cloud: Cloud) -> Account:
    return Account(cloud)


def put_alarm(account: Account, name: str, **settings: Any) -> Any:
    """An alarm on a metric of its own name; answers the client."""
    cloudwatch = account.client("cloudwatch")
    statistic = {} if "ExtendedStatistic" in settings else {"Statistic": "Sum"}
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace="Ratchet",
        MetricName=name,
        Dimensions=[{"Name": "pipeline", "Value": "traffic"}],
        ComparisonOperator="GreaterThanThreshold",
        **{**statistic, "Period": HOUR, "EvaluationPeriods": 1, "Threshold": 0, **settings},
    )
    return cloudwatch


def put_metric(cloudwatch: Any, name: str, value: float, pipeline: str = "traffic", **more: Any) -> None:
    dimensions = [{"Name": "pipeline", "Value": pipeline}]
    datum = {"MetricName": name, "Dimensions": dimensions, "Value": value, **more}
    cloudwatch.put_metric_data(Namespace="Ratchet", MetricData=[datum])


def alarm_state(cloudwatch: Any, name: str) -> str:
    return str(cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"])


def asked(
    cloudwatch: Any, name: str, *statistics: str, dimensions: tuple[str, ...] = ("traffic",)
) -> list[dict[str, Any]]:
    """The data points of the last hour, one for each day."""
    now = datetime.now(UTC)
    found = cloudwatch.get_metric_statistics(
        Namespace="Ratchet",
        MetricName=name,
        Dimensions=[{"Name": "pipeline", "Value": value} for value in dimensions],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(hours=1),
        Period=24 * HOUR,
        **{"Statistics" if not statistics[0].startswith("p") else "ExtendedStatistics": list(statistics)},
    )
    return list(found["Datapoints"])


def listen(account: Account) -> str:
    """The URL of a queue that gets alarms' changes from now on."""
    url, arn = account.open_queue()
    account.rule({"source": ["aws.cloudwatch"], "detail-type": ["CloudWatch Alarm State Change"]}, Arn=arn)
    return url


def change(account: Account, queue: str, alarm: str) -> dict[str, Any]:
    """The next event of this alarm."""
    while True:
        message = account.received(queue)
        account.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        event: dict[str, Any] = json.loads(message["Body"])
        if event["detail"]["alarmName"] == alarm:
            return event


def test_an_alarm_announces_a_real_change_of_state_once(account: Account) -> None:
    queue = listen(account)
    cloudwatch = put_alarm(account, "failures")

    for _ in range(2):
        put_metric(cloudwatch, "failures", 1)

    changed = change(account, queue, "failures")
    assert changed["resources"] == ["arn:aws:cloudwatch:us-east-1:000000000000:alarm:failures"]
    detail = changed["detail"]
    assert detail["previousState"]["value"] == "INSUFFICIENT_DATA"
    assert detail["state"]["value"] == "ALARM"
    metric = detail["configuration"]["metrics"][0]["metricStat"]["metric"]
    assert metric == {"namespace": "Ratchet", "name": "failures", "dimensions": {"pipeline": "traffic"}}
    assert not account.message(queue), "neither its creation nor a second breach is a change"


def test_an_alarm_looks_at_its_own_dimensions(account: Account) -> None:
    cloudwatch = put_alarm(account, "own")

    put_metric(cloudwatch, "own", 1, "flights")
    assert alarm_state(cloudwatch, "own") == "INSUFFICIENT_DATA"

    put_metric(cloudwatch, "own", 1)
    assert alarm_state(cloudwatch, "own") == "ALARM"


def test_an_alarm_on_a_percentile(account: Account) -> None:
    cloudwatch = put_alarm(account, "slow", ExtendedStatistic="p99", Threshold=500)

    put_metric(cloudwatch, "slow", 0, Values=[100.0], Counts=[200.0])
    assert alarm_state(cloudwatch, "slow") == "OK"

    put_metric(cloudwatch, "slow", 0, Values=[900.0], Counts=[5.0])
    assert alarm_state(cloudwatch, "slow") == "ALARM"


def test_an_alarm_with_a_unit_sees_no_other(account: Account) -> None:
    cloudwatch = put_alarm(account, "duration", Unit="Milliseconds")

    put_metric(cloudwatch, "duration", 1, Unit="Microseconds")
    assert alarm_state(cloudwatch, "duration") == "INSUFFICIENT_DATA"

    put_metric(cloudwatch, "duration", 1, Unit="Milliseconds")
    assert alarm_state(cloudwatch, "duration") == "ALARM"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"Period": 45}, "Period must be 10, 20, 30 or a multiple of 60, not 45"),
        ({"DatapointsToAlarm": 2}, r"DatapointsToAlarm must not be larger than EvaluationPeriods \(1\)"),
        ({"Statistic": "Sum", "ExtendedStatistic": "p99"}, "Exactly one of"),
        ({"Metrics": [{"Id": "e", "Expression": "m1 / m2"}]}, "from stacks only here"),
    ],
)
def test_alarms_that_cannot_be(account: Account, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientError, match=words):
        put_alarm(account, "impossible", **settings)


def test_time_alone_changes_an_alarm(account: Account) -> None:
    queue = listen(account)
    topic_queue, topic_queue_arn = account.open_queue("sns.amazonaws.com")
    sns = account.client("sns")
    topic = sns.create_topic(Name="alarms")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=topic_queue_arn)
    cloudwatch = put_alarm(account, "passing", Period=10, TreatMissingData="notBreaching", OKActions=[topic])

    put_metric(cloudwatch, "passing", 1)

    states = [change(account, queue, "passing")["detail"]["state"]["value"] for _ in range(2)]
    while states[0] == "OK":  # the clock saw the new alarm before its data
        states = [states[1], change(account, queue, "passing")["detail"]["state"]["value"]]
    assert states == ["ALARM", "OK"]
    told = json.loads(json.loads(account.received(topic_queue)["Body"])["Message"])
    assert (told["AlarmName"], told["NewStateValue"]) == ("passing", "OK")


def test_an_alarm_without_data_is_what_its_missing_data_says(account: Account) -> None:
    for treatment in ("missing", "ignore", "breaching", "notBreaching"):
        cloudwatch = put_alarm(account, treatment, TreatMissingData=treatment)
    until(lambda: alarm_state(cloudwatch, "notBreaching") == "OK")
    until(lambda: alarm_state(cloudwatch, "breaching") == "ALARM")
    assert {alarm_state(cloudwatch, name) for name in ("missing", "ignore")} == {"INSUFFICIENT_DATA"}


def test_a_percentile_can_be_asked_for(account: Account) -> None:
    cloudwatch = account.client("cloudwatch")
    put_metric(cloudwatch, "latency", 0, Values=[float(value) for value in range(1, 101)], Unit="Microseconds")

    (point,) = asked(cloudwatch, "latency", "p99")
    assert point["ExtendedStatistics"]["p99"] == pytest.approx(99.01)
    metric = {"Namespace": "Ratchet", "MetricName": "latency", "Dimensions": [{"Name": "pipeline", "Value": "traffic"}]}
    now = datetime.now(UTC)
    answer = cloudwatch.get_metric_data(
        MetricDataQueries=[{"Id": "m", "MetricStat": {"Metric": metric, "Period": 24 * HOUR, "Stat": "p50"}}],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(hours=1),
    )
    assert answer["MetricDataResults"][0]["Values"] == [pytest.approx(50.5)]


def test_metrics_without_dimensions_are_not_the_sum_of_all(account: Account) -> None:
    cloudwatch = account.client("cloudwatch")
    put_metric(cloudwatch, "apart", 1)

    assert asked(cloudwatch, "apart", "Sum", dimensions=()) == []
    assert [point["Sum"] for point in asked(cloudwatch, "apart", "Sum")] == [1]


def test_a_functions_embedded_metrics_ring_its_alarm(account: Account) -> None:
    cloudwatch = put_alarm(account, "stalled")
    account.invoke(account.function(EMITTER), {"metric": "stalled", "values": [1, 2]})

    until(lambda: alarm_state(cloudwatch, "stalled") == "ALARM")
    (point,) = asked(cloudwatch, "stalled", "Sum", "SampleCount")
    assert (point["Sum"], point["SampleCount"]) == (3, 2)


def test_lines_that_only_look_like_metrics_are_lines(account: Account) -> None:
    for name in ('{"_aws": 1}', '{"_aws": {"CloudWatchMetrics": [{}]}}', '{"_aws": broken'):
        log(account, "lookalike", name)
    assert account.client("cloudwatch").list_metrics(Namespace="lookalike")["Metrics"] == []


def log(account: Account, group: str, *lines: str) -> None:
    """Puts lines into a log group that is made when absent."""
    logs = account.client("logs")
    try:
        logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName="stream")
    except logs.exceptions.ResourceAlreadyExistsException:
        pass
    now = int(time.time() * 1000)
    logs.put_log_events(
        logGroupName=group, logStreamName="stream", logEvents=[{"timestamp": now, "message": line} for line in lines]
    )


def test_a_metric_filter_counts_lines(account: Account) -> None:
    log(account, "filtered", "the first line")
    transformation = {"metricName": "denied", "metricNamespace": "Filtered", "metricValue": "$.cost", "unit": "Count"}
    account.client("logs").put_metric_filter(
        logGroupName="filtered",
        filterName="denied",
        filterPattern='{ $.level = "ERROR" && ($.code >= 400 || $.retried IS TRUE) }',
        metricTransformations=[{**transformation, "dimensions": {"pipeline": "$.pipeline"}}],
    )

    hit = {"level": "ERROR", "code": 403, "cost": 2.5, "pipeline": "traffic"}
    lines = [hit, {**hit, "code": 200, "retried": True}, {**hit, "code": 200}, {**hit, "level": "INFO"}]
    log(account, "filtered", *map(json.dumps, lines), "no JSON")

    cloudwatch = account.client("cloudwatch")
    now = datetime.now(UTC)
    (point,) = cloudwatch.get_metric_statistics(
        Namespace="Filtered",
        MetricName="denied",
        Dimensions=[{"Name": "pipeline", "Value": "traffic"}],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(hours=1),
        Period=24 * HOUR,
        Statistics=["Sum"],
    )["Datapoints"]
    assert point["Sum"] == 5


def test_a_pattern_that_is_not_understood_is_refused(account: Account) -> None:
    log(account, "refused", "the first line")
    with pytest.raises(ClientError, match="not supported here"):
        account.client("logs").put_metric_filter(
            logGroupName="refused",
            filterName="columns",
            filterPattern="[ip, user, status]",
            metricTransformations=[{"metricName": "m", "metricNamespace": "n", "metricValue": "1"}],
        )


# The tables of "Configuring how CloudWatch alarms treat missing data": newest period last, X breaches, 0 does not.
MISSING, IGNORE, BREACHING, NOT_BREACHING = "missing", "ignore", "breaching", "notBreaching"
STATES = {"A": "ALARM", "O": "OK", "I": "INSUFFICIENT_DATA", "=": None}


@pytest.mark.parametrize(
    ("needed", "periods", "states"),
    [
        (3, "0-X-X", "OOOO"),
        (3, "----0", "OOOO"),
        (3, "-----", "I=AO"),
        (3, "0XX-X", "AAAA"),
        (3, "--X--", "A=AO"),
        (2, "0-X-X", "AAAA"),
        (2, "00X0X", "AAAA"),
        (2, "0-X--", "OOAO"),
        (2, "----0", "OOAO"),
        (2, "---X-", "A=AO"),
    ],
)
def test_missing_data_counts_as_documented(needed: int, periods: str, states: str) -> None:
    breaches = [{"X": True, "0": False, "-": None}[period] for period in reversed(periods)]
    judged = [judge(breaches, 3, needed, how) for how in (MISSING, IGNORE, BREACHING, NOT_BREACHING)]
    assert judged == [STATES[state] for state in states]


@pytest.mark.without("T12", "T14")
def test_without_the_repairs(bare: Account) -> None:
    cloudwatch = put_alarm(bare, "other")
    put_metric(cloudwatch, "other", 1, "flights")
    assert alarm_state(cloudwatch, "other") == "ALARM"
    assert asked(cloudwatch, "other", "Sum", dimensions=()) != []

    function = bare.function(EMITTER)
    bare.invoke(function, {"metric": "stalled", "values": [1]})
    until(lambda: "_aws" in bare.logged(function))
    assert asked(cloudwatch, "stalled", "Sum") == []
