"""What AWS would refuse later, said at once: bounds that the definition's schema cannot know."""

import re
from datetime import timedelta
from zoneinfo import available_timezones

from ratchet.domain.definition import Definition

_MAX_HYPERPARAMETERS = 98  # SageMaker takes 100, and script mode needs two
_MAX_HYPERPARAMETER_LENGTH = 2500
_MAX_RUNTIME = timedelta(hours=24)  # SageMaker allows 28 days, but Train Candidate waits 25 hours
_RATE = re.compile(r"^rate\([1-9]\d* (minute|hour|day)s?\)$")
_CRON = re.compile(r"^cron\((\S+ ){5}\S+\)$")


def refusals(definition: Definition) -> list[str]:
    """One sentence per fault: the field, what is wrong, and the fix."""
    return [*_of_name(definition), *_of_training(definition), *_of_schedule(definition)]


def _of_name(definition: Definition) -> list[str]:
    if definition.name.endswith("-"):
        return [f"name: SageMaker takes no endpoint name that ends in a hyphen; write {definition.name.rstrip('-')}"]
    return []


def _of_training(definition: Definition) -> list[str]:
    found = []
    train = definition.train
    for place, chosen in (("hyperparameters", train.hyperparameters), *_candidates(definition)):
        if len({**train.hyperparameters, **chosen}) > _MAX_HYPERPARAMETERS:
            found.append(f"train.{place}: SageMaker takes at most {_MAX_HYPERPARAMETERS}; remove some")
        found += [
            f"train.{place}.{name}: SageMaker takes at most {_MAX_HYPERPARAMETER_LENGTH} characters; shorten it"
            for name, value in chosen.items()
            if len(str(value)) > _MAX_HYPERPARAMETER_LENGTH
        ]
    if not timedelta(0) < train.max_runtime <= _MAX_RUNTIME:
        found.append("train.max_runtime: the retrain workflow waits for 1s to 24h; choose a time between")
    return found


def _candidates(definition: Definition) -> list[tuple[str, dict[str, float | int | str]]]:
    return [(f"candidates.{place}", chosen) for place, chosen in enumerate(definition.train.candidates)]


def _of_schedule(definition: Definition) -> list[str]:
    found = []
    schedule = definition.retrain.schedule
    if schedule is not None and not (_RATE.match(schedule) or _valid_cron(schedule)):
        found.append(
            f"retrain.schedule: EventBridge Scheduler refuses {schedule!r}; write cron(0 2 * * ? *) "
            "(minutes, hours, day of month, month, day of week, year; one of the two days is ?), rate(1 day), or null"
        )
    if definition.retrain.timezone not in available_timezones():
        found.append(
            f"retrain.timezone: there is no zone {definition.retrain.timezone!r}; write one like Europe/Berlin"
        )
    return found


def _valid_cron(schedule: str) -> bool:
    if not _CRON.match(schedule):
        return False
    _, _, day_of_month, _, day_of_week, _ = schedule[len("cron(") : -1].split()
    return (day_of_month == "?") != (day_of_week == "?")
