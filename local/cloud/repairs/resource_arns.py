"""The one function of MiniStack that says which ARN a policy must name for a request; several repairs correct it."""

from collections.abc import Callable, Sequence

from ministack.core import iam_actions

from local.cloud.repairs.patching import Function, replace

_SIGNATURE = (
    "(service: str, method: str, path: str, headers: dict, body: bytes, query_params: dict, region: str, "
    "account_id: str) -> str"
)


def replace_extraction(make: Callable[[Function], Function], needs: Sequence[str] = ()) -> None:
    """Puts `make(extract_resource_arn)` in its place; `needs` as in `patching.replace`."""
    replace(iam_actions, "extract_resource_arn", _SIGNATURE, make, needs)
