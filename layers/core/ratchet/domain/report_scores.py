"""What the scored holdout looks like: errors over time and by slice, residuals, confusion, calibration.

In plain Python, so that the report's function does not need the gate's numpy. One pass over the rows for each figure;
every figure is bounded, whatever the number of rows.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from zlib import crc32

from ratchet.domain.report import (
    Bin,
    Classification,
    ClassScore,
    Course,
    Regression,
    ReportedDefinition,
    Scores,
    SliceError,
    Trust,
)
from ratchet.domain.scores import HoldoutRow, label

MAX_ROWS = 200_000  # of a holdout, above which its figures are of a sample
MAX_POINTS = 800  # of the scatter, about
MAX_TIMES = 400  # of a line
RECENT = timedelta(days=14)
BINS = 25
TRIMMED = 0.005  # of the residuals, at either end, go into the outermost bins
TRUST_BINS = 10
MAX_CLASSES = 12  # a row and a column each
MAX_SLICE_COLUMNS = 4
MAX_SLICES = 8  # of one column
OTHER = "(other)"

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

Answer = Mapping[str, Any]


class Scored(NamedTuple):
    """The holdout's rows, and the models' answers in the same order."""

    rows: Sequence[HoldoutRow]
    candidate: Sequence[Answer]
    champion: Sequence[Answer] | None
    of: int | None = None  # rows of the whole holdout, when these are a sample

    def losses(self, loss: Callable[[Any, Any], float]) -> dict[str, list[float | None]]:
        """Each model's loss of each row; the naive forecast's is None where there is none."""
        found: dict[str, list[float | None]] = {"candidate": self._losses(loss, self.candidate)}
        if self.champion is not None:
            found["champion"] = self._losses(loss, self.champion)
        if any(row.naive is not None for row in self.rows):
            found["naive"] = [None if row.naive is None else loss(row.actual, row.naive) for row in self.rows]
        return found

    def _losses(self, loss: Callable[[Any, Any], float], answers: Sequence[Answer]) -> list[float | None]:
        return [loss(row.actual, answer["prediction"]) for row, answer in zip(self.rows, answers, strict=True)]


def scores_of(definition: ReportedDefinition, scored: Scored) -> Scores:
    """Every figure of the holdout."""
    regression = definition.task == "regression"
    losses = scored.losses(_distance if regression else _wrong)
    return Scores(
        rows=len(scored.rows) if scored.of is None else scored.of,
        used=len(scored.rows),
        errors=_errors(scored.rows, losses),
        slices=tuple(_slices(definition, scored, losses)),
        detail=_regression(scored) if regression else _classification(scored),
    )


def sampled(row: int, one_of: int) -> bool:
    """Whether a row is in the sample; by its hash, since every n-th row of a series may always be the same hour."""
    return one_of == 1 or crc32(str(row).encode()) % one_of == 0


def _distance(actual: Any, predicted: Any) -> float:
    return abs(float(predicted) - float(actual))


def _wrong(actual: Any, predicted: Any) -> float:
    return float(label(actual) != label(predicted))


def _errors(rows: Sequence[HoldoutRow], losses: Mapping[str, Sequence[float | None]]) -> Course | None:
    times = [row.time for row in rows]
    known = [time for time in times if time is not None]
    if not known:
        return None
    period = _period(max(known) - min(known))
    return Course(period, {name: _means(times, values, period) for name, values in losses.items()})


def _period(span: timedelta) -> str:
    if span <= timedelta(days=3):
        return "hour"
    if span <= timedelta(days=MAX_TIMES):
        return "day"
    return "week" if span <= timedelta(weeks=MAX_TIMES) else "month"


def _begin(time: datetime, period: str) -> datetime:
    """When the period of a moment began."""
    hour = time.replace(minute=0, second=0, microsecond=0)
    if period == "hour":
        return hour
    day = hour.replace(hour=0)
    if period == "day":
        return day
    return day - timedelta(days=day.weekday()) if period == "week" else day.replace(day=1)


def _means(
    times: Iterable[datetime | None], values: Iterable[float | None], period: str
) -> tuple[tuple[datetime, float], ...]:
    sums: dict[datetime, list[float]] = defaultdict(lambda: [0.0, 0])
    for time, value in zip(times, values, strict=True):
        if time is not None and value is not None:
            held = sums[_begin(time, period)]
            held[0] += value
            held[1] += 1
    return tuple((time, total / count) for time, (total, count) in sorted(sums.items()))


def _regression(scored: Scored) -> Regression:
    actual = [float(row.actual) for row in scored.rows]
    predicted = [float(answer["prediction"]) for answer in scored.candidate]
    residuals = [guess - truth for truth, guess in zip(actual, predicted, strict=True)]
    one_of = -(-len(actual) // MAX_POINTS)
    return Regression(
        recent=_recent(scored.rows, actual, predicted),
        pairs=tuple(
            (truth, guess)
            for row, truth, guess in zip(scored.rows, actual, predicted, strict=True)
            if sampled(row.row, one_of)
        ),
        residuals=tuple(_histogram(residuals)),
        bias=sum(residuals) / len(residuals),
        mean_error=sum(map(abs, residuals)) / len(residuals),
    )


def _recent(rows: Sequence[HoldoutRow], actual: Sequence[float], predicted: Sequence[float]) -> Course | None:
    """The newest fortnight by the hour, or by the day when there is not a row an hour."""
    known = [row.time for row in rows if row.time is not None]
    if not known:
        return None
    since = max(known) - RECENT
    times = [row.time if row.time is not None and row.time > since else None for row in rows]
    hours = {_begin(time, "hour") for time in times if time is not None}
    period = "hour" if len(hours) > 2 * RECENT.days else "day"
    values = {"actual": actual, "candidate": predicted}
    return Course(period, {name: _means(times, held, period) for name, held in values.items()})


def _histogram(values: Sequence[float]) -> Iterator[Bin]:
    """Equal bins around zero; the few outermost values fall into the first and the last."""
    ordered = sorted(values)
    cut = int(len(ordered) * TRIMMED)
    reach = _round_up(max(abs(ordered[cut]), abs(ordered[-1 - cut]))) or 1.0
    width = 2 * reach / BINS
    counts = Counter(min(BINS - 1, max(0, int((value + reach) / width))) for value in ordered)
    for number in range(BINS):
        yield Bin(number * width - reach, (number + 1) * width - reach, counts[number])


def _round_up(value: float) -> float:
    """To two digits: an axis ends at a round number."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value / unit) * unit


def _classification(scored: Scored) -> Classification:
    actual = [label(row.actual) for row in scored.rows]
    predicted = [label(answer["prediction"]) for answer in scored.candidate]
    together = Counter(zip(actual, predicted, strict=True))
    names = _commonest(Counter(actual) + Counter(predicted), MAX_CLASSES)
    merged: Counter[tuple[str, str]] = Counter()
    for (truth, guess), count in together.items():
        merged[(truth if truth in names else OTHER, guess if guess in names else OTHER)] += count
    if any(OTHER in pair for pair in merged) and OTHER not in names:
        names = [*names, OTHER]
    confusion = tuple(tuple(merged[truth, guess] for guess in names) for truth in names)
    return Classification(
        classes=tuple(_class_score(name, number, confusion) for number, name in enumerate(names)),
        confusion=confusion,
        calibration=tuple(_calibration(scored)),
    )


def _commonest(counts: Mapping[str, int], most: int) -> list[str]:
    """Names in order of the alphabet; when they are too many, the commonest."""
    return sorted(sorted(counts, key=lambda name: (-counts[name], name))[:most])


def _class_score(name: str, number: int, confusion: Sequence[Sequence[int]]) -> ClassScore:
    hits, occurred, said = confusion[number][number], sum(confusion[number]), sum(row[number] for row in confusion)
    return ClassScore(name, occurred, hits / said if said else None, hits / occurred if occurred else None)


def _calibration(scored: Scored) -> Iterator[Trust]:
    """Answers by the probability that the model stated for them."""
    bins: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0, 0])
    for row, answer in zip(scored.rows, scored.candidate, strict=True):
        stated = {label(name): float(share) for name, share in (answer.get("probabilities") or {}).items()}
        said = label(answer["prediction"])
        if said not in stated:
            continue
        held = bins[min(TRUST_BINS - 1, int(stated[said] * TRUST_BINS))]
        held[0] += stated[said]
        held[1] += label(row.actual) == said
        held[2] += 1
    for _, (stated_sum, right, rows) in sorted(bins.items()):
        yield Trust(stated_sum / rows, right / rows, int(rows))


def _slices(
    definition: ReportedDefinition, scored: Scored, losses: Mapping[str, Sequence[float | None]]
) -> Iterator[SliceError]:
    for column, values in _slice_values(definition, scored.rows):
        counts = Counter(values)
        for value in sorted(counts, key=lambda name: _slice_order(column, name, counts))[:MAX_SLICES]:
            places = [place for place, held in enumerate(values) if held == value]
            yield SliceError(
                column=column,
                value=value,
                rows=len(places),
                candidate=_mean(losses["candidate"], places) or 0.0,
                champion=_mean(losses["champion"], places) if "champion" in losses else None,
                bias=_bias(scored, places) if definition.task == "regression" else None,
            )


def _slice_values(definition: ReportedDefinition, rows: Sequence[HoldoutRow]) -> Iterator[tuple[str, list[str]]]:
    """The gate's slice columns, else the columns of text or truth; and the weekday when there is a time."""
    kinds = ("string", "boolean")
    plain = [name for name, rule in definition.columns.items() if rule.type in kinds and name != definition.target]
    for name in (plain if definition.slices is None else definition.slices)[:MAX_SLICE_COLUMNS]:
        yield name, [label(row.record.get(name)) for row in rows]
    if definition.timestamp is not None:
        yield (
            f"weekday of {definition.timestamp}",
            [_WEEKDAYS[row.time.weekday()] if row.time else "None" for row in rows],
        )


def _slice_order(column: str, value: str, counts: Mapping[str, int]) -> tuple[int, int, str]:
    """Weekdays from Monday on, everything else by its number of rows."""
    weekday = _WEEKDAYS.index(value) if column.startswith("weekday of ") and value in _WEEKDAYS else 0
    return weekday, -counts[value], value


def _mean(values: Sequence[float | None], places: Sequence[int]) -> float | None:
    known = [value for place in places if (value := values[place]) is not None]
    return sum(known) / len(known) if known else None


def _bias(scored: Scored, places: Sequence[int]) -> float:
    return sum(float(scored.candidate[p]["prediction"]) - float(scored.rows[p].actual) for p in places) / len(places)
