"""`make screenshots`: reports of real runs on the embedded cloud, photographed for docs/images.

The reports are made here; docs/browser.py, which has Playwright, opens them in Chromium. `--pages FOLDER` takes pages
that stand there already.
"""

import argparse
import os
import shutil
import subprocess
from pathlib import Path

from cli import samples
from cli.apply import Code, apply_definition
from cli.definition import read_definition
from cli.deploy import build, deploy_to
from cli.report import fetch
from cli.stack import LOCAL_STACK, Stack
from cli.upload import await_verdict, put
from cli.watch import await_idle
from local.cloud.process import Cloud, CloudSettings, free_port
from local.cloud.settings import REPOSITORY
from ratchet.contracts.run import RunOutcome
from ratchet.domain.ledger import RunRecord

IMAGES = REPOSITORY / "docs/images"
WORK = REPOSITORY / ".ratchet/screenshots"
PHOTOGRAPHER = REPOSITORY / ".envs/screenshots/bin/python"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
TIMEOUT = 300
SETTINGS = ("retrain.settle=2s", "retrain.schedule=null")
HISTORY = ("2016-10", "2016-11", "2016-12", "2017-01", "2017-02")
NEXT, BROKEN = "2017-03", "2017-04"
FLIGHTS = ("2013-01", "2013-02", "2013-03")


def main() -> None:
    """Makes the pages, unless they are given, and has them photographed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=Path, help="a folder with pages made before")
    pages = parser.parse_args().pages or make_pages()
    browser = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"No browser: install Chromium ({', '.join(BROWSERS)}), or set CHROMIUM to its path.")
    IMAGES.mkdir(exist_ok=True)
    subprocess.run([PHOTOGRAPHER, Path(__file__).with_name("browser.py"), pages, IMAGES, browser], check=True)


def make_pages() -> Path:
    """A cloud of its own, three runs, and the page of each."""
    pages = WORK / "pages"
    shutil.rmtree(WORK, ignore_errors=True)
    cloud = Cloud(CloudSettings(port=free_port(), state=WORK / "cloud"))
    try:
        build()
        cloud.up()
        deploy_to(cloud, LOCAL_STACK)
        stack = Stack.of_cloud(cloud)
        traffic(stack, pages)
        late_arrivals(stack, pages)
    finally:
        cloud.down()
    return pages


def traffic(stack: Stack, pages: Path) -> None:
    """A second model over a first, with a rejected file between them; then a candidate that is refused."""
    months = samples.traffic_months()
    apply(stack, "traffic", *SETTINGS)
    upload(stack, "traffic", {month: months[month] for month in HISTORY})
    upload(stack, "traffic", {BROKEN: samples.broken_traffic_month(months[BROKEN])})
    keep(stack, upload(stack, "traffic", {NEXT: months[NEXT]}), pages / "deployed.html", RunOutcome.DEPLOYED)
    apply(stack, "traffic", *SETTINGS, "train.hyperparameters={max_depth: 2, num_round: 40}")
    keep(stack, settled(stack, "traffic"), pages / "refused.html", RunOutcome.REFUSED)


def late_arrivals(stack: Stack, pages: Path) -> None:
    """A classification."""
    parts = samples.late_arrivals_parts()
    apply(stack, "late-arrivals", *SETTINGS)
    made = upload(stack, "late-arrivals", {month: parts[month] for month in FLIGHTS})
    keep(stack, made, pages / "classification.html", None)


def apply(stack: Stack, pipeline: str, *settings: str) -> None:
    """Applies a sample's definition."""
    apply_definition(stack, read_definition(REPOSITORY / "pipelines" / pipeline, settings), Code.pack())


def upload(stack: Stack, pipeline: str, files: dict[str, bytes]) -> RunRecord:
    """Uploads files together; the newest run once all is quiet."""
    folder = WORK / "data"
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, content in files.items():
        path = folder / f"{pipeline}-{name}.csv"
        path.write_bytes(content)
        made.append(put(stack, stack.pipeline(pipeline), path))
    for one in made:
        await_verdict(stack, one, TIMEOUT)
    return settled(stack, pipeline)


def settled(stack: Stack, pipeline: str) -> RunRecord:
    """The newest run, once none is under way or due."""
    await_idle(stack, pipeline, TIMEOUT)
    return stack.ledger.runs(pipeline)[-1]


def keep(stack: Stack, run: RunRecord, path: Path, outcome: RunOutcome | None) -> None:
    """Brings the run's page here; the run must have ended as the picture is to show."""
    if outcome is not None and run.outcome is not outcome:
        raise SystemExit(f"{run.run_id} should have ended {outcome}, and ended {run.outcome}: {run.because}")
    print(f"{run.run_id} {run.outcome}: {fetch(stack, run, path)}")


if __name__ == "__main__":
    main()
