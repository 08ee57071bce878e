"""What write_report reads and answers."""

from pydantic import Field

from ratchet.contracts.base import Contract, ForeignContract, S3Uri


class WriteReportRequest(Contract):
    """Asks for a run's report as of now; the ledger knows the run."""

    pipeline: str
    run_id: str

    @property
    def request(self) -> "WriteReportRequest":
        """What is asked for, as a RunEndedEvent has it too."""
        return self


class EndedRun(ForeignContract):
    """What the report needs of an outcome's announcement."""

    pipeline: str
    run_id: str


class RunEndedEvent(ForeignContract):
    """The EventBridge envelope of the announcement of a run's outcome."""

    detail_type: str = Field(alias="detail-type")
    detail: EndedRun

    @property
    def request(self) -> WriteReportRequest:
        """The event as the workflow says it."""
        return WriteReportRequest(pipeline=self.detail.pipeline, run_id=self.detail.run_id)


class WriteReportResult(Contract):
    """Where the page stands, and its bytes."""

    report_uri: S3Uri
    size: int
