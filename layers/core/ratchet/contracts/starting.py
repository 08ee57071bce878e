"""What asks for a run, and the answer."""

from typing import Literal

from pydantic import Field

from ratchet.contracts.base import Contract, ForeignContract
from ratchet.contracts.run import DefinitionRef


class StartRunRequest(Contract):
    """Every trigger's one door: starts a run if the pipeline is behind and unowned, or when forced."""

    pipeline: str
    reason: str  # upload | schedule | manual | event | reconcile | retry
    forced: bool = False
    definition: DefinitionRef | None = None  # for this run alone
    retry_of: int | None = None  # fence of the failed run whose work is tried again

    @property
    def request(self) -> "StartRunRequest":
        """What is asked for, as a RunRequestedEvent has it too."""
        return self


class RunRequestedDetail(Contract):
    """`detail` of "Run Requested"."""

    pipeline: str
    forced: bool = False


class RunRequestedEvent(ForeignContract):
    """The event with which anyone who may put events on the bus asks for a run."""

    detail_type: Literal["Run Requested"] = Field(alias="detail-type")
    detail: RunRequestedDetail

    @property
    def request(self) -> StartRunRequest:
        """The event as start_run's other callers say it."""
        return StartRunRequest(pipeline=self.detail.pipeline, reason="event", forced=self.detail.forced)


class StartRunResult(Contract):
    """The run started, or why none was."""

    started: bool
    run_id: str | None = None
    because: str
