"""What predict answers, and what it says of records that break the contract."""

from typing import Any

from ratchet.contracts.base import Contract


class RecordProblem(Contract):
    """One thing that is wrong with one record; `field` is None when the record as a whole is."""

    record: int  # its place in the request, from 0
    field: str | None
    problem: str


class PredictResult(Contract):
    """One prediction for each record, in their order, and the champion that stands behind the endpoint."""

    predictions: list[dict[str, Any]]
    model: str
    run: str
