"""T12: metrics are asked for by their own dimensions, and none is lost while another thread tidies up."""

import time

from ministack.services import cloudwatch

from local.cloud.repairs.patching import edit, replace

_HANDLER = "(params, cbor_data, is_cbor, is_json=False)"


def apply() -> None:
    """A question without dimensions finds the metric without dimensions, as on AWS, and not the sum of all others."""
    for handler in ("_get_metric_statistics", "_get_metric_data"):
        edit(cloudwatch, handler, _HANDLER, "_dims_key(req_dims) if req_dims else None", "_dims_key(req_dims)")
    replace(cloudwatch, "_evict_old_metrics", "()", lambda _: _evict, ("_metrics[key] = [",))


def _evict() -> None:
    """Drops what is older than CloudWatch keeps.

    MiniStack builds each metric's list anew at every request: what functions and endpoints add meanwhile, on threads of
    their own, is lost. Here the list is shortened in place, from its old end.
    """
    cutoff = time.time() - cloudwatch.TWO_WEEKS_SECONDS
    for key, points in list(cloudwatch._metrics.items()):
        old = 0
        while old < len(points) and points[old]["Timestamp"] < cutoff:
            old += 1
        del points[:old]
        if not points:
            cloudwatch._metrics.pop(key, None)
