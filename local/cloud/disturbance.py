"""Puts the switch of `local.cloud.chaos` before every delivery that a rule makes, and before stopped jobs."""

import threading
from contextvars import copy_context
from typing import Any

from ministack.services import eventbridge

from local.cloud import tasks
from local.cloud.chaos import Switch
from local.cloud.repairs.patching import Function, replace
from local.cloud.settings import CloudSettings


def apply(settings: CloudSettings) -> None:
    """Wraps what the repairs made of deliveries. The switch is off after every start."""
    settings.chaos_file.unlink(missing_ok=True)
    switch = Switch(settings.chaos_file)
    replace(eventbridge, "_invoke_target", "(target, event, rule, view=None)", lambda deliver: _by(switch, deliver))
    signature = "(job: local.cloud.tasks.Job) -> None"
    replace(tasks, "stop_job", signature, lambda stop: _unless_abandoned(switch, stop))


def _by(switch: Switch, deliver: Function) -> Function:
    def invoke(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None) -> None:
        if "Target" in rule:  # a schedule, which Scheduler brings by this way too
            deliver(target, event, rule, view)
            return
        for seconds in switch.fate(event.get("Source", "")):
            if seconds:
                later = threading.Timer(seconds, copy_context().run, args=(deliver, target, event, rule, view))
                later.daemon = True
                later.start()
            else:
                deliver(target, event, rule, view)

    return invoke


def _unless_abandoned(switch: Switch, stop: Function) -> Function:
    def stop_job(job: tasks.Job) -> None:
        if not switch.abandons():
            stop(job)

    return stop_job
