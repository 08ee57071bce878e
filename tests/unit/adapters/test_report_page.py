"""The report's page: self-contained, without script, and every value escaped, whatever people call their columns."""

import base64
import hashlib
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet.adapters.report.page import page_of
from ratchet.adapters.report.text import dollars, file, moment, number, percent, score, seconds, short, signed
from ratchet.contracts.base import Finding
from ratchet.contracts.run import RunOutcome
from ratchet.domain.report import BrokenTotal, Report, Scores
from ratchet.domain.report_scores import Scored, scores_of
from tests.unit import samples
from tests.unit.domain.test_report_scores import classified, hours, said, timed
from tests.unit.world import World

# Attributes that make a browser fetch, run or paint something of somebody else's.
FETCHING = {"src", "srcset", "href", "xlink:href", "action", "formaction", "data", "poster", "background", "ping"}

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><script src=//evil.example/x.js></script>",
    "</title></head><body onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "&lt;b&gt; &amp; &#60;",
    "]]><!-- <svg/onload=alert(1)>",
    "naïve Ж 東京 🚦 \u202e\u0000\u2028",
    "https://evil.example/a.css",
    "x" * 3_000,
]


class Page(HTMLParser):
    """What a browser would make of the page: its elements with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing that is open"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    @property
    def tags(self) -> list[str]:
        return [tag for tag, _ in self.elements]

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def policy(self) -> str:
        (held,) = (meta["content"] for meta in self.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
        return str(held)


def check(html: str) -> Page:
    """No script, no way out, no style but the one that the policy names; every drawing has a name."""
    page = Page(html)
    assert page.open == []
    assert not {"script", "iframe", "object", "embed", "form", "base", "img", "use", "image"} & set(page.tags)
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), f"<{tag} {name}> runs script"
            assert name != "style", f"<{tag} style> is against the policy"
            if name in FETCHING:
                assert (tag, value) == ("link", "data:,"), f"<{tag} {name}={value}> fetches"
    css = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert css
    assert not re.search(r"url\(|@import|@font-face", css[1])
    digest = base64.b64encode(hashlib.sha256(css[1].encode()).digest()).decode()
    assert page.policy().split("; ")[:2] == ["default-src 'none'", f"style-src 'sha256-{digest}'"]
    assert "unsafe" not in page.policy()
    for drawing in page.all("svg"):
        assert drawing.get("aria-hidden") == "true" or (drawing["role"] == "img" and drawing["aria-label"])
    return page


@pytest.fixture(scope="module")
def deployed() -> Report:
    """A second model, deployed over a first one."""
    world = World()
    world.apply()
    world.accept(2)
    world.deployed(candidate=0.10)
    world.accept()
    world.deployed(candidate=0.05)
    record = world.ledger.run("traffic", "traffic-g2")
    assert record is not None
    return world.write_report.report(record)


def flights(names: Mapping[str, Any]) -> Scores:
    """A classification whose classes and slice values are called as a hostile person would."""
    rows = [
        row.__class__(row.row, names["class"] if row.row % 3 else "late", None, None, {"origin": names["value"]})
        for row in hours([1.0] * 40)
    ]
    answers = [{"prediction": "late", "probabilities": {"late": 0.8, names["class"]: 0.2}} for _ in rows]
    return scores_of(classified(), Scored(rows, answers, None))


def called(report: Report, text: str) -> Report:
    """The report with a text wherever people, files and services can put one."""
    record = report.record
    assert record.selection is not None
    assert record.evaluation is not None
    assert report.decision is not None
    assert report.quality is not None
    assert report.lineage is not None
    assert report.scores is not None
    selection = record.selection.model_copy(
        update={
            "image_uri": text,
            "candidate": record.selection.candidate.model_copy(
                update={"hyperparameters": {text: text}, "training_job_name": text}
            ),
        }
    )
    changed = record.model_copy(
        update={
            "because": text,
            "reason": text,
            "by": text,
            "finding": Finding(what=text, where=text, why=text, fix=text),
            "selection": selection,
            "model_package_arn": text,
            "comparison": samples.comparison(text),
        }
    )
    decision = {
        **report.decision,
        "rules": [{**rule, "name": text, "sentence": text} for rule in report.decision["rules"]],
        "holdout": {"span": text},
    }
    slices = tuple(held.__class__(text, text, 1, 1.0, 1.0, 1.0) for held in report.scores.slices[:3])
    upload = report.quality.uploads[0].__class__(text, text, samples.NOW, 1, 1, changed.finding)
    return Report(
        record=changed,
        written_at=report.written_at,
        definition=report.definition,
        decision=decision,
        scores=report.scores._replace(slices=slices),
        importance=((text, 1.0),),
        quality=report.quality.__class__(text, (upload,), (BrokenTotal(text, text, text, 1, 1),)),
        lineage=report.lineage.model_copy(
            update={"uploads": tuple(held.model_copy(update={"key": text}) for held in report.lineage.uploads)}
        ),
        approval=samples.approval(by=text, reason=text),
        steps=report.steps,
        scoring=report.scoring,
        gaps=(text,),
    )


def test_a_deployed_runs_page_holds_every_section_and_nothing_from_outside(deployed: Report) -> None:
    page = check(page_of(deployed))
    sections = [section["aria-labelledby"] for section in page.all("section")]
    assert sections == ["decision", "holdout", "slices", "importance", "quality", "lineage", "cost"]
    assert {drawing.get("aria-label") for drawing in page.all("svg")} >= {
        "Error over time",
        "Predicted and actual over time",
        "Predicted against actual",
        "Residuals",
    }
    assert "traffic-g2 is deployed" in page.text
    assert "datetime:hour" in page.text
    assert not re.search("https?:", page_of(deployed)), "not even a namespace"


def test_what_a_candidate_had_to_pass_before_it_served_is_on_the_page(deployed: Report) -> None:
    ada = "arn:aws:sts::1:assumed-role/a/ada"
    record = deployed.record.model_copy(update={"comparison": samples.comparison("120 copies")})
    approved = deployed._replace(record=record, approval=samples.approval(by=ada, reason="a good week"))
    text = " ".join(check(page_of(approved)).text.split())
    assert f"Approved 2026-03-01 13:00 UTC by {ada}: a good week" in text
    assert "newer work arrived 2026-03-01 12:30 UTC" in text
    assert "A shadow for 1 min 0 s: 120 copies." in text
    assert "candidate 120 1 2 31.5 champion 118 0 0 30.2" in text
    undecided = samples.approval().model_copy(update={"decision": None})
    assert "Not decided by 2026-03-04 12:00 UTC" in " ".join(
        check(page_of(approved._replace(approval=undecided))).text.split()
    )


def test_a_drawing_over_time_has_its_numbers_in_a_table(deployed: Report) -> None:
    page = check(page_of(deployed))
    assert deployed.scores is not None
    assert deployed.scores.errors is not None
    for time, values in deployed.scores.errors.rows():
        assert f"{time:%Y-%m-%d}" in page.text
        assert all(number(value) in page.text for value in values)
    assert page.tags.count("th") > 50
    assert all(cell.get("scope") for cell in page.all("th"))


@pytest.mark.parametrize(
    ("deploy", "said"),
    [
        ({"mode": "serverless"}, "Serving is serverless, 2,048 MB: billed by what is asked of it."),
        ({"mode": "instance", "instances": 2}, "Serving takes 2 ml.m5.large, $0.2300 an hour."),
        ({"mode": "instance", "instance_type": "ml.q9.large"}, "at a price the list lacks"),
    ],
)
def test_the_page_says_what_serving_costs_from_now_on(deployed: Report, deploy: dict[str, Any], said: str) -> None:
    world = World()
    world.apply(deploy=deploy)
    world.accept()
    world.deployed()
    record = world.ledger.run("traffic", "traffic-g1")
    assert record is not None
    assert said in page_of(world.write_report.report(record))


def test_narrow_screens_get_drawings_of_their_own(deployed: Report) -> None:
    html = page_of(deployed)
    assert html.count('class="narrow"') == html.count('class="wide"') == 2


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_things_are_called_it_stays_text(deployed: Report, text: str) -> None:
    tame, hostile = check(page_of(called(deployed, "tame"))), check(page_of(called(deployed, text)))
    assert hostile.tags == tame.tags, "a value made or ate an element"
    assert " ".join(text.split()) in " ".join(hostile.text.split())


@settings(max_examples=60, deadline=None)
@given(text=st.text(min_size=1, max_size=60))
def test_no_text_at_all_becomes_markup(deployed: Report, text: str) -> None:
    tame, hostile = (called(deployed, word)._replace(scores=None) for word in ("tame", text))
    assert check(page_of(hostile)).tags == check(page_of(tame)).tags


@pytest.mark.parametrize("text", [*HOSTILE, "\ud800"], ids=range(len(HOSTILE) + 1))
def test_classes_and_slices_of_a_classification_are_text_too(deployed: Report, text: str) -> None:
    def page(named: str) -> Page:
        scores = flights({"class": named, "value": named})
        return check(page_of(Report(record=deployed.record, written_at=samples.NOW, scores=scores)))

    tame, hostile = page("a tame name"), page(text)
    assert sorted(hostile.tags) == sorted(tame.tags)
    assert "Calibration" in {drawing.get("aria-label") for drawing in hostile.all("svg")}


def test_a_run_that_reached_nothing_has_a_page(deployed: Report) -> None:
    record = deployed.record.model_copy(
        update=dict.fromkeys(("plan", "selection", "evaluation", "deployment", "verification", "because", "ended_at"))
        | {"outcome": None, "timings": {}}
    )
    page = check(page_of(Report(record=record, written_at=samples.NOW)))
    assert page.all("section") == []
    assert "has not come to a decision yet" in page.text


@pytest.mark.parametrize("outcome", [*RunOutcome, None])
def test_every_outcome_has_its_word(deployed: Report, outcome: RunOutcome | None) -> None:
    record = deployed.record.model_copy(update={"outcome": outcome})
    page = check(page_of(Report(record=record, written_at=samples.NOW)))
    assert page.text.count("traffic-g2") >= 2


@pytest.mark.parametrize(
    "actual",
    [[5.0], [0.0] * 10, [1e12, -1e12, 3.0], [1e-9, 2e-9, 3e-9]],
    ids=["one row", "all equal", "huge", "tiny"],
)
def test_odd_holdouts_can_be_drawn(deployed: Report, actual: list[float]) -> None:
    scores = scores_of(timed(), Scored(hours(actual), said(actual), None))
    check(page_of(Report(record=deployed.record, written_at=samples.NOW, scores=scores)))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (number(0.93841), "0.9384"),
        (number(3281.4), "3,281"),
        (number(7), "7"),
        (number(None), "\N{EN DASH}"),
        (number(0.0000123), "1.23e-05"),
        (score(0.9), "0.9000"),
        (score(1234.5), "1,234"),
        (score(None), "\N{EN DASH}"),
        (signed(-3.25), "\N{MINUS SIGN}3.25"),
        (signed(3.25), "+3.25"),
        (percent(0.1234), "12.3 %"),
        (seconds(4.21), "4.2 s"),
        (seconds(200), "3 min 20 s"),
        (seconds(7500), "2 h 5 min"),
        (dollars(0.00288), "$0.0029"),
        (dollars(None), "\N{EN DASH}"),
        (moment(samples.NOW), "2026-03-01 12:00 UTC"),
        (short("a" * 64), "a" * 12),
        (file("incoming/traffic/2017/may.csv"), "2017/may.csv"),
    ],
)
def test_how_figures_are_written(written: str, meant: str) -> None:
    assert written == meant
