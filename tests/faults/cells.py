"""The matrix: every Task of the workflows, and every way in which its call can fail."""

from dataclasses import dataclass
from enum import StrEnum

from local.cloud.faults import Fault, Kind
from tests.faults.calls import INVOKE, TASKS, Road

# Calls that an outage strikes: all attempts of one execution. A run's own name aims at one; an upload's at every one.
OUTAGE = {"ingest": 2, "validate_large": 10, "retrain": 99}
SDK_ATTEMPTS = 3  # after which a function hears of it


class Column(StrEnum):
    """What happens to the call: once, but for an outage, which outlasts every retry of the execution."""

    THROTTLE = "throttle"
    ERROR = "error"
    OUTAGE = "outage"
    TIMEOUT = "timeout"
    SLOW = "slow"
    DENIED = "denied"
    LOST = "lost"
    DUPLICATE = "duplicate"
    KILLED = "killed"
    DISK_FULL = "disk-full"
    CLOUD_KILLED = "cloud-killed"


_PROCESSES = (INVOKE, "glue:StartJobRun", "sagemaker:CreateTrainingJob", "sagemaker:CreateTransformJob")
INNER_COLUMNS = (Column.THROTTLE, Column.DENIED, Column.LOST)
_IN_PROCESS = (Column.KILLED, Column.DISK_FULL)


@dataclass(frozen=True)
class Cell:
    """One state, one way to fail."""

    machine: str
    state: str
    column: Column
    inner: str = ""  # a call that the state's function makes; else it is the state's own

    @property
    def row(self) -> str:
        """Of the table."""
        return f"{self.machine}: {self.state}{f' > {self.inner}' if self.inner else ''}"

    @property
    def road(self) -> Road:
        """How a pipeline comes there."""
        return TASKS[self.machine][self.state].road

    @property
    def refused(self) -> bool:
        """Whether the candidate is: by the gate, or since the time in which a person may approve it is over."""
        return self.road is Road.REFUSED or (self.state, self.column) == ("Wait For Approval", Column.TIMEOUT)

    @property
    def name(self) -> str:
        """Of its fault."""
        return f"{self.row}, {self.column}"

    def faults(self, pipeline: str, run_id: str) -> tuple[Fault, ...]:
        """What happens to the next execution of the pipeline, or to its run of that id: this, and the way there."""
        return (*self._way(pipeline, run_id), self._fault(pipeline, run_id))

    def _fault(self, pipeline: str, run_id: str) -> Fault:
        if self.inner:
            return self._inside(pipeline)
        call = TASKS[self.machine][self.state].call
        # The execution's ARN comes first; later runs name this one in what they adopt of it.
        aim = (f":{run_id} " if self.machine == "retrain" else pipeline,)
        if self.column in _IN_PROCESS:
            return Fault(name=self.name, kind=Kind(self.column), call=call, contains=self._process(pipeline, run_id))
        return Fault(
            name=self.name,
            kind=Kind.ERROR if self.column is Column.OUTAGE else Kind(self.column),
            call=call,
            state=self.state,
            contains=aim,
            times=OUTAGE[self.machine] if self.column is Column.OUTAGE else 1,
            seconds=0.5 if self.column in (Column.SLOW, Column.TIMEOUT) else 0,
        )

    def _inside(self, pipeline: str) -> Fault:
        return Fault(
            name=self.name,
            kind=Kind(self.column),
            call=self.inner,
            caller=f"{self.function}Role",
            contains=(pipeline,),
            times=SDK_ATTEMPTS if self.column is Column.THROTTLE else 1,
        )

    def _process(self, pipeline: str, run_id: str) -> tuple[str, ...]:
        """What the process of the state is told, and no other."""
        call = TASKS[self.machine][self.state].call
        if self.machine == "validate_large":
            return ("--event", pipeline)
        if call != INVOKE:
            return (f"/{pipeline}/",) if call == "glue:StartJobRun" else (f"-{run_id}-",)
        if self.machine == "ingest":
            return (self.function, pipeline)
        outcome = {"Close Refused Run": "REFUSED", "Promote Champion": "DEPLOYED", "Close Failed Run": "FAILED"}
        purpose = {"Deploy Trial Endpoint": "trial", "Shadow Champion": "shadow"}
        told = outcome.get(self.state) or purpose.get(self.state)
        return (self.function, run_id, *([f'"{told}"'] if told else []))

    @property
    def function(self) -> str:
        """Part of its function's name, as SAM makes it of the logical id."""
        shared = {
            "Close Refused Run": "CloseRun",
            "Promote Champion": "CloseRun",
            "Close Failed Run": "CloseRun",
            "Deploy Trial Endpoint": "DeployEndpoint",
            "Shadow Champion": "DeployEndpoint",
            "Verify Trial Endpoint": "VerifyEndpoint",
            "Wait For Approval": "RequestApproval",
        }
        return f"{shared.get(self.state, self.state.replace(' ', ''))}Function"

    def _way(self, pipeline: str, run_id: str) -> tuple[Fault, ...]:
        def first(kind: Kind, call: str, state: str, *contains: str) -> tuple[Fault, ...]:
            return (Fault(name=f"way to {self.name}", kind=kind, call=call, state=state, contains=contains),)

        # A timeout is the one error that no Retry of these states lists: it leads to the Catch at once.
        if self.road is Road.FAILED:
            return first(Kind.TIMEOUT, INVOKE, "Check Idempotency", run_id)
        if self.road is Road.KEPT:
            return first(Kind.TIMEOUT, INVOKE, "Validate Data", pipeline)
        if self.road is Road.LARGE_KEPT:
            return first(Kind.TIMEOUT, "states:StartExecution", "Ingest Again", pipeline)
        if self.road is Road.FOUND:
            return first(Kind.DUPLICATE, "sagemaker:CreateModel", "Create Model", run_id)
        return ()

    def __str__(self) -> str:
        return self.name


def columns(call: str) -> list[Column]:
    """The ways in which a call can fail."""
    return [column for column in Column if call in _PROCESSES or column not in _IN_PROCESS]


CELLS = [
    Cell(machine, state, column)
    for machine, states in TASKS.items()
    for state, does in states.items()
    for column in columns(does.call)
] + [
    Cell(machine, state, column, inner)
    for machine, states in TASKS.items()
    for state, does in states.items()
    for inner in does.inner
    for column in INNER_COLUMNS
]
COMMON = (
    Cell("ingest", "Validate Data", Column.KILLED),
    Cell("ingest", "Announce Acceptance", Column.ERROR),
    Cell("ingest", "Start Run", Column.OUTAGE),
    Cell("retrain", "Check Idempotency", Column.THROTTLE),
    Cell("retrain", "Preprocess Data", Column.DISK_FULL),
    Cell("retrain", "Select Candidate", Column.DENIED),
    Cell("retrain", "Evaluate Model", Column.TIMEOUT),
    Cell("retrain", "Deploy Endpoint", Column.DUPLICATE),
    Cell("retrain", "Verify Endpoint", Column.SLOW),
    Cell("retrain", "Promote Champion", Column.LOST),
)
