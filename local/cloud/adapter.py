"""Our engines as services of MiniStack."""

from contextlib import ExitStack

from local.cloud import glue, sagemaker, tasks
from local.cloud.repairs import GLUE_TRAPS
from local.cloud.settings import CloudSettings


def apply(settings: CloudSettings) -> ExitStack:
    """Registers both engines; the stack ends their processes when it is closed."""
    tasks.apply()
    processes = ExitStack()
    processes.callback(sagemaker.apply(settings))
    if settings.left_out.isdisjoint({"all", *GLUE_TRAPS}):
        processes.callback(glue.apply(settings))
    return processes
