"""Our engines as services of MiniStack."""

from collections.abc import Callable
from contextlib import ExitStack

from local.cloud import glue, sagemaker, tasks
from local.cloud.settings import CloudSettings


def apply(settings: CloudSettings) -> ExitStack:
    """Registers both engines; the stack ends their processes when it is closed."""
    tasks.apply()
    engines: tuple[Callable[[CloudSettings], Callable[[], None]], ...] = (glue.apply, sagemaker.apply)
    processes = ExitStack()
    for register in engines:
        processes.callback(register(settings))
    return processes
