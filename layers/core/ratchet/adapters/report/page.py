"""The report as one HTML page: no script, no outside request, every value escaped."""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from ratchet.adapters.report.text import FILTERS, dollars, number, percent
from ratchet.contracts.run import RunOutcome
from ratchet.domain import prices
from ratchet.domain.announcements import failed_state, sentence_of
from ratchet.domain.ledger import RunRecord
from ratchet.domain.report import Classification, Regression, Report, SliceError
from ratchet.domain.savings import saved

if TYPE_CHECKING:
    from ratchet.adapters.report.charts import Figure

_FOLDER = Path(__file__).parent
_SHADES = 10  # of a confusion matrix, as the stylesheet has them
_MOST_FEATURES = 15
_MOST_UPLOADS = 30
_NAMES = {"actual": "what happened", "candidate": "candidate", "champion": "champion", "naive": "naive forecast"}
_RULES = {
    "threshold": "Good enough",
    "beat_naive": "Better than the naive forecast",
    "champion": "Better than the champion",
    "slices": "No slice much worse",
}
_WORDS = {
    RunOutcome.DEPLOYED: ("Deployed", "good"),
    RunOutcome.REFUSED: ("Refused", "fair"),
    RunOutcome.NOTHING_TO_DO: ("Nothing to do", "plain"),
    RunOutcome.FAILED: ("Failed", "bad"),
    RunOutcome.ROLLED_BACK: ("Rolled back", "fair"),
    None: ("Not ended yet", "plain"),
}


def page_of(report: Report) -> str:
    """The whole page."""
    style, policy = _style()
    record, scores = report.record, report.scores
    word, tone = _WORDS[record.outcome]
    classes = scores is not None and isinstance(scores.detail, Classification)
    slices = scores.slices if scores else ()
    page: str = _template().render(
        report=report,
        record=record,
        style=style,
        policy=policy,
        word=word,
        tone=tone,
        sentence=_lead(record),
        failed_in=failed_state(record) if record.outcome is RunOutcome.FAILED else None,
        classes=classes,
        error=percent if classes else number,
        figures=_figures(report),
        with_champion=any(held.champion is not None for held in slices),
        worst_slice=max((held.candidate for held in slices), default=0.0) or 1.0,
        saved=saved(report.steps),
        spent=_spent(report),
        serving=_serving(report),
    )
    return page


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS, pretty=_pretty, by_column=_by_column)
    environment.globals.update(
        names=_NAMES,
        rules=_RULES,
        shade=_shade,
        prices=prices,
        most_features=_MOST_FEATURES,
        most_uploads=_MOST_UPLOADS,
    )
    return environment.get_template("report.html.j2")


@cache
def _style() -> tuple[Markup, str]:
    """The stylesheet, and the policy that allows this one and nothing else."""
    css = (_FOLDER / "report.css").read_text()
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    return Markup(css), policy  # noqa: S704  our own file


def _figures(report: Report) -> "dict[str, Figure]":
    """The drawings that this run's holdout gives reason for."""
    scores = report.scores
    if scores is None:
        return {}
    from ratchet.adapters.report import charts  # noqa: PLC0415  (a run that was not scored has nothing to draw)

    found: dict[str, Figure] = {}
    if scores.errors is not None:
        found["errors"] = charts.course("Error over time", scores.errors, from_zero=True)
    match scores.detail:
        case Regression() as detail:
            if detail.recent is not None:
                found["recent"] = charts.course("Predicted and actual over time", detail.recent)
            found["pairs"] = charts.pairs("Predicted against actual", detail.pairs)
            found["residuals"] = charts.histogram("Residuals", detail.residuals)
        case Classification(calibration=trust) if trust:
            found["calibration"] = charts.calibration("Calibration", trust)
    return found


def _lead(record: RunRecord) -> str:
    """The outcome, or how far the run is."""
    if record.outcome is not None:
        return record.because or sentence_of(record)
    if record.evaluation is not None:
        return f"Decided, not ended yet: {record.evaluation.sentence}"
    return "The run has not come to a decision yet."


def _spent(report: Report) -> tuple[float, float | None]:
    """Job seconds and dollars of this run's own jobs; no sum of dollars where one is unknown."""
    jobs = [(step.seconds, step.dollars) for step in report.steps if not step.reused]
    jobs += [(job.seconds, job.dollars) for job in report.scoring]
    known = [cost for _, cost in jobs if cost is not None]
    return sum(seconds or 0 for seconds, _ in jobs), sum(known) if len(known) == len(jobs) else None


def _serving(report: Report) -> str | None:
    """What the deployed model costs from now on."""
    if report.definition is None or report.record.deployment is None:
        return None
    served = report.definition
    if served.mode == "serverless":
        return f"Serving is serverless, {served.memory_mb:,} MB: billed by what is asked of it."
    hourly = prices.instance_dollars(served.instance_type, 3600)
    cost = "at a price the list lacks" if hourly is None else f"{dollars(hourly * served.instances)} an hour"
    return f"Serving takes {served.instances} {served.instance_type}, {cost}."


def _by_column(slices: Iterable[SliceError]) -> Iterator[tuple[str, list[SliceError]]]:
    return ((column, list(held)) for column, held in groupby(slices, key=lambda held: held.column))


def _shade(count: int, of: int) -> int:
    """0 for none to 9 for all."""
    return min(_SHADES - 1, round(count / of * (_SHADES - 1))) if of else 0


def _pretty(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)
