"""Compiled definitions: checked against what AWS would refuse, stored by content, and referred to by id."""

from collections.abc import Sequence

from cli.definition import derive_definition
from cli.errors import CommandError
from cli.preflight import refusals
from cli.stack import Stack
from ratchet.adapters.s3_store import split_uri
from ratchet.contracts.run import DefinitionRef
from ratchet.domain.definition import CompiledDefinition, Definition
from ratchet.domain.errors import DefinitionInvalidError
from ratchet.domain.identity import canonical, canonical_json, data_hash, definition_id, definition_uri
from ratchet.domain.ledger import PipelineState

_HOLIDAY_YEARS = range(1990, 2041)


def holidays_of(definition: Definition) -> dict[str, tuple[str, ...]]:
    """`{"US": ("1990-01-01", …)}` for every `holiday:` feature: the training container cannot compute them."""
    places = sorted(name.split(":", 1)[1] for name in definition.features.calendar if name.startswith("holiday:"))
    return {place: _holiday_dates(place) for place in places}


def require_acceptable(definition: Definition) -> None:
    """DefinitionInvalidError with everything that AWS would refuse later."""
    if found := refusals(definition):
        faults = "".join(f"\n  - {fault}" for fault in found)
        raise DefinitionInvalidError(f"AWS would refuse the definition of {definition.name}. Correct:{faults}")


def store_definition(stack: Stack, compiled: CompiledDefinition) -> DefinitionRef:
    """Puts the definition where its content says, and returns what the ledger keeps of it."""
    identity = definition_id(compiled)
    uri = definition_uri(stack.outputs.artifacts_bucket_name, compiled.pipeline, identity)
    bucket, key = split_uri(uri)
    stack.s3.put_object(Bucket=bucket, Key=key, Body=canonical_json(canonical(compiled)).encode())
    retrain = compiled.definition.retrain
    return DefinitionRef(
        definition_id=identity,
        uri=uri,
        data_hash=data_hash(compiled.definition.data),
        settle_seconds=int(retrain.settle.total_seconds()),
        on_upload=retrain.on_upload,
        retry_seconds=tuple(int(wait.total_seconds()) for wait in retrain.retry_after),
    )


def definition_for_one_run(stack: Stack, state: PipelineState, settings: Sequence[str]) -> DefinitionRef:
    """The pipeline's definition with `a.b=c` settings over it, stored; the pipeline keeps its own.

    The data contract stays: uploads were judged under it, and a run holds only those that its own contract accepted.
    """
    if state.definition is None:
        raise CommandError(
            f"The pipeline {state.pipeline} has no definition. Run `ratchet apply` with its folder first."
        )
    compiled = CompiledDefinition.model_validate(stack.store.read_json(state.definition.uri))
    definition = derive_definition(compiled.definition, settings)
    if data_hash(definition.data) != state.definition.data_hash or definition.name != state.pipeline:
        raise CommandError(
            "--set cannot change name or data for one run: every upload would have to be judged anew. "
            "Change pipeline.yaml and run `ratchet apply`."
        )
    require_acceptable(definition)
    changed = {"definition": definition, "holidays": holidays_of(definition)}
    image = {"image_uri": definition.train.image_uri} if definition.train.image_uri else {}
    return store_definition(stack, compiled.model_copy(update={**changed, **image}))


def _holiday_dates(place: str) -> tuple[str, ...]:
    from holidays import country_holidays  # noqa: PLC0415  a slow import that few commands need

    country, _, part = place.partition("-")
    try:
        found = country_holidays(country, subdiv=part or None, years=_HOLIDAY_YEARS)
    except NotImplementedError as error:
        raise DefinitionInvalidError(
            f"features.calendar: no holidays are known for {place}; write a country such as holiday:US, or remove it."
        ) from error
    return tuple(sorted(day.isoformat() for day in found))
