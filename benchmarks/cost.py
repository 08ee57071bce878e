"""What work costs on AWS at list prices: a full run, a rerun with one hyperparameter changed, and a night without news.

Transitions, invocations and job counts are those of real runs on the embedded cloud. Times are not AWS's: Lambda's are
billed milliseconds of this machine; a Glue job counts its minimum of one minute or more; a SageMaker job counts its
seconds here and START_SECONDS on top, an assumption for what its instance takes to begin. Left out, for they are far
below a cent: requests to S3 and DynamoDB, logs, traces, invocations of the endpoint, and the sweep every five minutes.
"""

import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.overhead import deployed, one_file, retrain_transitions
from cli import samples
from cli.apply import Code, apply_definition
from cli.definition import read_definition
from cli.run import invoke
from cli.stack import Stack
from cli.upload import await_verdict, put
from cli.watch import await_idle
from local.cloud.settings import REPOSITORY
from ratchet.contracts.run import RunOutcome
from ratchet.domain import prices
from ratchet.domain.ledger import RunRecord

PIPELINE = "cost"
# A bar that every candidate passes, so that the full run deploys; the nightly schedule is what costs nothing.
SETTINGS = (f"name={PIPELINE}", "retrain.settle=0s", "gate.threshold=0.1", "gate.beat_naive=false")
CHANGED = "train.hyperparameters.eta=0.06"
START_SECONDS = 120
TIMEOUT = 300
SWEEP = "ReconcileLogGroup"
REPORT = re.compile(r"Billed Duration: (\d+) ms\s+Memory Size: (\d+) MB")


@dataclass(frozen=True)
class Cost:
    """Dollars by service, and what they are paid for."""

    transitions: int
    invocations: int
    lambda_seconds: float
    functions: float
    workflows: float
    glue: float
    training: float
    transform: float
    events: float

    @property
    def dollars(self) -> float:
        return self.functions + self.workflows + self.glue + self.training + self.transform + self.events


class Meter:
    """Counts what a stack did since the meter was made."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._since = datetime.now(UTC)

    def read(self, runs: list[RunRecord], events: float) -> Cost:
        """The cost of these runs, and of everything else that happened since; `events` are dollars."""
        billed = list(self._billed())
        transitions = sum(retrain_transitions(self._stack, run) for run in runs)
        return Cost(
            transitions=transitions,
            invocations=len(billed),
            lambda_seconds=sum(seconds for seconds, _ in billed),
            functions=sum(prices.lambda_dollars(seconds, memory) for seconds, memory in billed),
            workflows=transitions * prices.STATE_TRANSITION + self._express(),
            glue=self._glue(),
            training=_instances(self._training_jobs()),
            transform=_instances(self._transform_jobs()),
            events=events,
        )

    def _billed(self) -> Iterator[tuple[float, int]]:
        """Seconds and megabytes of every invocation."""
        logs = self._stack.session.client("logs")
        formation = self._stack.session.client("cloudformation")
        for page in formation.get_paginator("list_stack_resources").paginate(StackName=self._stack.name):
            for resource in page["StackResourceSummaries"]:
                if resource["ResourceType"] != "AWS::Logs::LogGroup" or resource["LogicalResourceId"] == SWEEP:
                    continue
                for found in logs.get_paginator("filter_log_events").paginate(
                    logGroupName=resource["PhysicalResourceId"], startTime=round(self._since.timestamp() * 1000)
                ):
                    for event in found["events"]:
                        if report := REPORT.search(event["message"]):
                            yield int(report[1]) / 1000, int(report[2])

    def _express(self) -> float:
        """Requests and time of ingest."""
        arn = self._stack.outputs.ingest_state_machine_arn
        pages = self._stack.executions.get_paginator("list_executions").paginate(stateMachineArn=arn)
        new = [one for page in pages for one in page["executions"] if one["startDate"] >= self._since]
        seconds = sum((one["stopDate"] - one["startDate"]).total_seconds() for one in new)
        return len(new) * prices.EXPRESS_REQUEST + seconds * 64 / 1024 * prices.EXPRESS_GB_SECOND

    def _glue(self) -> float:
        glue = self._stack.session.client("glue")
        described = self._stack.session.client("cloudformation").describe_stack_resource(
            StackName=self._stack.name, LogicalResourceId="PreprocessJob"
        )
        name = described["StackResourceDetail"]["PhysicalResourceId"]
        runs = [run for run in glue.get_job_runs(JobName=name)["JobRuns"] if run["StartedOn"] >= self._since]
        costs = [
            prices.glue_job_dollars(run["ExecutionTime"], run["WorkerType"], run["NumberOfWorkers"]) for run in runs
        ]
        return sum((known(cost) for cost in costs), 0.0)

    def _training_jobs(self) -> Iterator[tuple[str, datetime, datetime]]:
        sagemaker = self._stack.session.client("sagemaker")
        for listed in sagemaker.list_training_jobs(CreationTimeAfter=self._since)["TrainingJobSummaries"]:
            job = sagemaker.describe_training_job(TrainingJobName=listed["TrainingJobName"])
            yield job["ResourceConfig"]["InstanceType"], job["TrainingStartTime"], job["TrainingEndTime"]

    def _transform_jobs(self) -> Iterator[tuple[str, datetime, datetime]]:
        sagemaker = self._stack.session.client("sagemaker")
        for listed in sagemaker.list_transform_jobs(CreationTimeAfter=self._since)["TransformJobSummaries"]:
            job = sagemaker.describe_transform_job(TransformJobName=listed["TransformJobName"])
            yield job["TransformResources"]["InstanceType"], job["TransformStartTime"], job["TransformEndTime"]


def main() -> None:
    """Runs the three cases, prints a table, and the figures as one JSON object on the last line."""
    with deployed() as (cloud, stack):
        upload = Path(cloud.settings.state) / "traffic.csv"
        upload.write_bytes(one_file(samples.traffic_months()))
        full, changed, nothing = full_run(stack, upload), changed_hyperparameter(stack), night_without_news(stack)
    print_table({"full run": full, "one hyperparameter changed": changed, "nothing new": nothing})
    figures = {
        "full_transitions": full.transitions,
        "full_dollars": round(full.dollars, 6),
        "changed_hyperparameter_transitions": changed.transitions,
        "changed_hyperparameter_dollars": round(changed.dollars, 6),
        "noop_transitions": nothing.transitions,
        "noop_dollars": round(nothing.dollars, 9),
        "prices_as_of": prices.AS_OF,
        "start_seconds_assumed": START_SECONDS,
    }
    print(json.dumps(figures))


def full_run(stack: Stack, upload: Path) -> Cost:
    """From an upload to a deployed model."""
    apply(stack)
    meter = Meter(stack)
    await_verdict(stack, put(stack, stack.pipeline(PIPELINE), upload), TIMEOUT)
    (run,) = ended(stack, 1)
    assert run.outcome is RunOutcome.DEPLOYED, run.finding
    return meter.read([run], events=4 * prices.EVENT + prices.SNS_REQUEST)  # S3's, acceptance, endpoint, outcome


def changed_hyperparameter(stack: Stack) -> Cost:
    """The same uploads under a definition with another hyperparameter: prepared data is reused."""
    meter = Meter(stack)
    apply(stack, CHANGED)
    _, run = ended(stack, 2)
    assert run.plan is not None
    assert run.plan.preprocess is not None
    assert run.plan.preprocess.known, "the data was prepared by the first run"
    assert run.outcome in (RunOutcome.DEPLOYED, RunOutcome.REFUSED), run.finding
    return meter.read([run], events=2 * prices.EVENT + prices.SNS_REQUEST)


def night_without_news(stack: Stack) -> Cost:
    """What the pipeline's own schedule asks for every night."""
    schedule = stack.scheduler.get_schedule(
        Name=f"{stack.outputs.resource_prefix}-{PIPELINE}", GroupName=stack.outputs.schedule_group_name
    )
    meter = Meter(stack)
    invoke(stack, stack.outputs.start_run_function_name, json.loads(schedule["Target"]["Input"]))
    runs = ended(stack, 2)
    return meter.read(runs[2:], events=prices.SCHEDULED_INVOCATION)


def apply(stack: Stack, *settings: str) -> None:
    definition = read_definition(REPOSITORY / "pipelines/traffic", [*SETTINGS, *settings])
    apply_definition(stack, definition, Code.pack())


def ended(stack: Stack, count: int) -> list[RunRecord]:
    """All runs, once there are so many and none goes on; the last message is told by then."""
    await_idle(stack, PIPELINE, TIMEOUT)
    runs = stack.ledger.runs(PIPELINE)
    assert len(runs) >= count
    for run in runs:
        retrain_transitions(stack, run)
    time.sleep(2)
    return runs


def _instances(jobs: Iterable[tuple[str, datetime, datetime]]) -> float:
    """Jobs by instance type, begin and end; the start of the instance is assumed."""
    costs = (prices.instance_dollars(kind, (end - start).total_seconds() + START_SECONDS) for kind, start, end in jobs)
    return sum((known(cost) for cost in costs), 0.0)


def known(dollars: float | None) -> float:
    assert dollars is not None, "a worker or instance type that the price list lacks"
    return dollars


def print_table(costs: dict[str, Cost]) -> None:
    """A row for each case; money in dollars."""
    print(
        f"\nList prices of {prices.AS_OF}, {prices.REGION}. Local seconds are not AWS seconds: read the module's top."
    )
    names = [field.name for field in fields(Cost)]
    print(f"{'':28}" + "".join(f"{name.replace('_', ' '):>15}" for name in [*names, "dollars"]))
    for case, cost in costs.items():
        values = [getattr(cost, name) for name in names]
        shown = [f"{value:>15}" if isinstance(value, int) else f"{value:>15.6f}" for value in [*values, cost.dollars]]
        print(f"{case:28}" + "".join(shown))


if __name__ == "__main__":
    main()
