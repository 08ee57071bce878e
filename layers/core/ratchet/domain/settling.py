"""Between runs an endpoint is the champion's, and a pipeline has no other one."""

from enum import StrEnum

from ratchet.contracts.run import Champion
from ratchet.domain import identity
from ratchet.domain.errors import DependencyBusyError
from ratchet.domain.ledger import PipelineState
from ratchet.domain.ports import EndpointDescription, Endpoints

# SageMaker leaves none of these by itself. One that failed to roll back still serves, on a mix of two configurations.
GONE_WRONG = frozenset({"Failed", "OutOfService", "UpdateRollbackFailed"})


class Action(StrEnum):
    """What brings an endpoint to the wanted configuration next."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"  # what serves nobody is made anew: SageMaker updates no failed endpoint
    WAIT = "wait"
    NONE = "none"


def next_action(live: EndpointDescription | None, wanted_config: str) -> Action:
    """Decides from what DescribeEndpoint says alone."""
    if live is None:
        return Action.CREATE
    if live.status == "UpdateRollbackFailed":
        return Action.UPDATE
    if live.status in GONE_WRONG:
        return Action.DELETE
    if live.status != "InService":
        return Action.WAIT
    return Action.NONE if live.config_name == wanted_config else Action.UPDATE


def settle(
    endpoints: Endpoints, prefix: str, pipeline: str, champion: Champion | None, *, asleep: bool = False
) -> None:
    """Puts the champion back and removes the pipeline's other endpoints; DependencyBusyError until all is so.

    A champion that nobody asked for so long that it was put to sleep sleeps on.
    """
    serving = champion.endpoint_name if champion else None
    for name in identity.endpoint_names(prefix, pipeline):
        if name != serving:
            remove(endpoints, name)
    if champion is not None and not asleep:
        put_back(endpoints, champion, {"ratchet:pipeline": pipeline})


def put_back(endpoints: Endpoints, champion: Champion, tags: dict[str, str]) -> None:
    """Returns once the endpoint is the champion's; DependencyBusyError until then."""
    name = champion.endpoint_name
    action = next_action(endpoints.describe(name), champion.endpoint_config_name)
    if action is Action.CREATE:
        endpoints.create(name, champion.endpoint_config_name, tags)
    elif action is Action.UPDATE:
        endpoints.update(name, champion.endpoint_config_name)
    elif action is Action.DELETE:
        endpoints.delete(name)
    if champion.watch is not None and action not in (Action.DELETE, Action.WAIT):
        endpoints.watch(name, champion.endpoint_config_name, champion.watch)  # and no more at what was to replace it
    if action is not Action.NONE:
        raise DependencyBusyError(f"endpoint {name} is on its way back to {champion.endpoint_config_name}")


def unscaled(endpoints: Endpoints, state: PipelineState) -> Champion | None:
    """The champion, when it serves without the bounds it is to scale in: an endpoint made anew begins so."""
    champion = state.champion
    if champion is None or champion.scaling is None or state.owner is not None or state.asleep_since is not None:
        return None
    name = champion.endpoint_name
    serves = next_action(endpoints.describe(name), champion.endpoint_config_name) is Action.NONE
    return champion if serves and not endpoints.scales(name) else None


def remove(endpoints: Endpoints, name: str) -> None:
    """Deletes an endpoint with its alarms and its scaling; DependencyBusyError while a change of it is under way."""
    live = endpoints.describe(name)
    if live is not None and live.status in ("InService", *GONE_WRONG):
        endpoints.unwatch(name)
        if identity.is_instance_endpoint(name):
            endpoints.unscale(name)
        endpoints.delete(name)
    elif live is not None and live.status != "Deleting":
        raise DependencyBusyError(f"endpoint {name} is {live.status}; it is deleted once that has ended")
