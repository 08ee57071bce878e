"""Predict: records are held to the contract of the very model that answers them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import AliasPath, Field

from ratchet.contracts.predict import PredictResult
from ratchet.contracts.run import Champion
from ratchet.domain.data_contract import CompiledData
from ratchet.domain.errors import (
    EndpointAsleepError,
    EndpointMissingError,
    ModelMissingError,
    PipelineUnknownError,
    RequestInvalidError,
    RequestTooLargeError,
)
from ratchet.domain.identity import definition_uri
from ratchet.domain.ledger import Ledger, PipelineState
from ratchet.domain.ports import Captures, ObjectStore, Predictions
from ratchet.domain.records import Matches, check
from ratchet.domain.waking import Wake

MAX_RECORDS = 1_000
_NAME = re.compile(r"[a-z][a-z0-9-]{0,23}")


class ServingDefinition(CompiledData):
    """What answering needs of a compiled definition."""

    mode: str = Field(validation_alias=AliasPath("definition", "deploy", "mode"))
    capture: int = Field(validation_alias=AliasPath("definition", "deploy", "capture"))


@dataclass
class ServingContracts:
    """The definition that a champion was trained under; kept, since neither it nor the champion's lineage changes."""

    ledger: Ledger
    store: ObjectStore
    artifacts_bucket: str
    _known: dict[str, ServingDefinition] = field(default_factory=dict)

    def of(self, state: PipelineState, champion: Champion) -> ServingDefinition:
        """The champion's own definition; the pipeline's present one when the ledger lacks the model's lineage."""
        if champion.model_name not in self._known:
            uri = self._uri(state, champion)
            self._known[champion.model_name] = ServingDefinition.model_validate(self.store.read_json(uri))
        return self._known[champion.model_name]

    def _uri(self, state: PipelineState, champion: Champion) -> str:
        model = self.ledger.model(state.pipeline, champion.model_name)
        if model is not None:
            return definition_uri(self.artifacts_bucket, state.pipeline, model.definition_id)
        if state.definition is None:
            raise PipelineUnknownError(f"no definition was applied for pipeline {state.pipeline}")
        return state.definition.uri


def serving(ledger: Ledger, pipeline: str) -> tuple[PipelineState, Champion]:
    """The pipeline and the model that serves; PipelineUnknownError or ModelMissingError when there is none."""
    state = ledger.pipeline(pipeline) if _NAME.fullmatch(pipeline) else None
    if state is None:
        raise PipelineUnknownError(f"there is no pipeline {pipeline[:24]!r}")
    if state.champion is None:
        raise ModelMissingError(f"no model serves {pipeline} yet: its first run has not deployed one")
    return state, state.champion


def records_of(body: Any) -> list[Any]:
    """The records of a request's body; RequestInvalidError or RequestTooLargeError when it is none."""
    if not isinstance(body, dict) or not isinstance(body.get("records"), list) or body.keys() != {"records"}:
        raise RequestInvalidError('the body must be an object with one field, records: {"records": [{…}, …]}')
    records: list[Any] = body["records"]
    if not records:
        raise RequestInvalidError("records is empty; send one record at least")
    if len(records) > MAX_RECORDS:
        raise RequestTooLargeError(
            f"{len(records)} records are more than the {MAX_RECORDS} of one request; send several requests, "
            "or a file under score/"
        )
    return records


@dataclass(frozen=True)
class Predict:
    """Answers a batch of records with the champion's predictions."""

    ledger: Ledger
    contracts: ServingContracts
    predictions: Predictions
    wake: Wake
    captures: Captures
    matches: Matches

    def __call__(self, pipeline: str, records: Sequence[Any]) -> PredictResult:
        """RecordsInvalidError names what breaks the contract, EndpointAsleepError means: try again in a minute."""
        state, champion = serving(self.ledger, pipeline)
        definition = self.contracts.of(state, champion)
        checked = check(records, definition.data, self.matches)
        try:
            answers = self.predictions.predict(champion.endpoint_name, checked)
        except EndpointMissingError as error:
            self.wake(pipeline)
            raise EndpointAsleepError(
                f"{pipeline} was not asked for so long that its endpoint was deleted; it is being started again"
            ) from error
        if definition.mode == "serverless":  # SageMaker itself captures what instances answer
            self.captures.keep(champion.endpoint_name, checked, answers, definition.capture)
        return PredictResult(predictions=answers, model=champion.model_name, run=champion.run_id)
