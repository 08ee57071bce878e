"""T20: a request over the loopback interface counts as secure transport, any other plain HTTP does not."""

import ipaddress
from contextvars import ContextVar

from ministack import app
from ministack.core import iam_evaluator

from local.cloud.repairs.patching import Function, RepairError, replace


def apply() -> None:
    """Lets `aws:SecureTransport` be true for what never leaves this machine (docs/decisions/0004)."""
    replace(
        iam_evaluator, "pin_request_origin", "(source_ip: str, secure_transport: bool) -> None", _loopback_is_secure
    )
    if getattr(app, "pin_request_origin", None) is None:
        raise RepairError("ministack.app no longer pins the origin of a request.")
    app.pin_request_origin = iam_evaluator.pin_request_origin
    # What no request brought, one service did for another inside the server's own process.
    iam_evaluator._request_origin = ContextVar("ministack_request_origin", default=("127.0.0.1", True))


def _loopback_is_secure(original: Function) -> Function:
    def pin(source_ip: str, secure_transport: bool) -> None:
        original(source_ip, secure_transport or is_loopback(source_ip))

    return pin


def is_loopback(address: str) -> bool:
    """Whether a connection's peer is this machine's loopback interface (IPv4, IPv6 or IPv4 mapped into IPv6)."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback
