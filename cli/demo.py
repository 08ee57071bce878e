"""`ratchet demo`: real data through the real system, on an embedded cloud of its own."""

import csv
import fcntl
import itertools
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from cli import samples
from cli.apply import Code, apply_definition
from cli.caller import Caller
from cli.definition import read_definition
from cli.deploy import build, deploy_to, timed
from cli.errors import CommandError
from cli.listen import Listener
from cli.predict import ask
from cli.render import console, finding, number, outcome, seconds, table, waiting
from cli.report import fetch
from cli.show import runs_of, runs_table
from cli.stack import LOCAL_STACK, Stack
from cli.upload import Uploaded, await_verdict, put
from cli.watch import await_idle, ended_timeline
from local.cloud.process import Cloud, CloudSettings, free_port
from local.cloud.settings import REPOSITORY
from ratchet.contracts.base import Finding
from ratchet.contracts.run import RunOutcome
from ratchet.domain.ledger import RunRecord, Verdict

_STATE = REPOSITORY / ".ratchet/demo"
_LOG = _STATE / "cloud/cloud.log"
_PIPELINE = "traffic"
_SETTINGS = ("retrain.settle=2s", "retrain.schedule=null")
_VERDICT_TIMEOUT = 60
_RUN_TIMEOUT = 300
_BROKEN_LINE = 100
_BURST_RUNS = range(1, 4)


class UnexpectedError(CommandError):
    """The demo saw something else than the system promises."""


def demo() -> None:
    """Show the whole system on two years of real traffic data; stops what it started. Takes about a minute."""
    began = time.monotonic()
    with _own_cloud() as cloud:
        stack, months, code = _set_up(cloud)
        with Listener(stack) as people:
            Story(stack, people, months, code).tell()
    console.print(f"\n[dim]{samples.TRAFFIC_ATTRIBUTION}[/]")
    console.print(f"[bold green]All went as promised, in {seconds(time.monotonic() - began)}.[/] The cloud is stopped.")


@dataclass
class Story:
    """The demo's steps; each says what it does, shows what happened, and insists on the outcome."""

    stack: Stack
    people: Listener
    months: dict[str, Path]
    code: Code
    _step: int = 0
    _seen: set[str] = field(default_factory=set)

    def tell(self) -> None:
        """All steps, in order."""
        self.apply()
        self.four_months_at_once()
        self.february_deploys()
        self.the_same_file_again()
        self.a_broken_file()
        self.march_replaces_the_champion()
        self.a_burst_of_eight_months()
        self.december_is_refused()
        self.predictions_beside_what_happened()
        self.every_run_has_its_report()
        console.print()
        console.print(runs_table(runs_of(self.stack, [_PIPELINE]), title="All runs"))

    def apply(self) -> None:
        """The pipeline's definition, with a shorter settle time than production's minute."""
        self._headline("Apply the pipeline's definition")
        definition = read_definition(REPOSITORY / "pipelines" / _PIPELINE, _SETTINGS)
        applied = apply_definition(self.stack, definition, self.code)
        console.print(f"  {applied.pipeline} has definition {applied.definition_id[:12]} ({', '.join(_SETTINGS)})")

    def four_months_at_once(self) -> None:
        self._headline("October to January, four files in one settle window: too little history, refused")
        run = self._only(self._retrain("2016-10", "2016-11", "2016-12", "2017-01"))
        self._expect(run.outcome is RunOutcome.REFUSED, f"a refusal, and {run.run_id} ended {run.outcome}")
        self._expect(self._champion() is None, "no champion after a refusal")

    def february_deploys(self) -> None:
        self._headline("February: good enough, the first model is deployed")
        run = self._only(self._retrain("2017-02"))
        self._expect(run.outcome is RunOutcome.DEPLOYED, f"a deployment, and {run.run_id} ended {run.outcome}")

    def the_same_file_again(self) -> None:
        self._headline("February's file again, under another name: the same bytes, nothing runs")
        copy = self.months["2017-02"].with_name("february-again.csv")
        shutil.copyfile(self.months["2017-02"], copy)
        made, _ = self._upload([copy])[0]
        self._expect(made.known, "known bytes")
        self._expect(not self._settle(), "no run for bytes that were judged before")
        console.print("  [dim]judged before: no run, no job, no message[/]")

    def a_broken_file(self) -> None:
        self._headline("A broken file: rejected, with the line")
        path = self.months["2017-03"].with_name("broken.csv")
        path.write_bytes(samples.broken_traffic_month(self.months["2017-03"].read_bytes(), _BROKEN_LINE))
        _, verdict = self._upload([path])[0]
        self._expect(verdict.outcome == "REJECTED", "a rejection")
        found = verdict.finding
        self._expect(found is not None and f"line {_BROKEN_LINE}" in found.model_dump_json(), "the broken line named")
        self._show_message("broken.csv", found=verdict.finding)
        self._expect(not self._settle(), "no run for a rejected file")

    def march_replaces_the_champion(self) -> None:
        self._headline("March: a better model replaces the champion, while a client keeps predicting")
        before = self._champion()
        with Caller(self.stack, _PIPELINE, self._records("2017-03", 24)) as caller:
            run = self._only(self._retrain("2017-03"))
        self._expect(run.outcome is RunOutcome.DEPLOYED, f"a deployment, and {run.run_id} ended {run.outcome}")
        self._expect(self._champion() not in (None, before), "another champion than before")
        self._expect(
            caller.answered > 0 and not caller.failures, f"no failed prediction, and got: {caller.failures[:3]}"
        )
        console.print(
            f"  {caller.answered} predictions meanwhile, [green]0 failed[/], the slowest took "
            f"{seconds(caller.slowest_seconds)}"
        )

    def a_burst_of_eight_months(self) -> None:
        self._headline("April to November in one burst: eight files, at most three runs")
        found = self._retrain(*(f"2017-{month:02d}" for month in range(4, 12)))
        self._expect(len(found) in _BURST_RUNS, f"one to three runs, and saw {len(found)}")
        decided = all(run.outcome in (RunOutcome.DEPLOYED, RunOutcome.REFUSED) for run in found)
        self._expect(decided, f"a decision on each, and saw {[run.outcome for run in found]}")
        uploads = found[-1].plan.uploads if found[-1].plan else 0
        self._expect(uploads == 14, f"all 14 months in the last run, and it had {uploads}")

    def december_is_refused(self) -> None:
        self._headline("December: not good enough, the champion stays")
        before = self._champion()
        run = self._only(self._retrain("2017-12"))
        self._expect(run.outcome is RunOutcome.REFUSED, f"a refusal, and {run.run_id} ended {run.outcome}")
        self._expect(self._champion() == before, "the same champion as before")

    def predictions_beside_what_happened(self) -> None:
        self._headline("The live endpoint's predictions beside what happened")
        records = self._records("2017-12", 24 * 7)[4::19][:8]
        asked = [{name: value for name, value in record.items() if name != "traffic_volume"} for record in records]
        answers = ask(self.stack, _PIPELINE, asked)
        rows = [
            (record["datetime"], record["weather_main"], number(answer["prediction"]), number(record["traffic_volume"]))
            for record, answer in zip(records, answers, strict=True)
        ]
        console.print(Padding(table("hour", "weather", "predicted#", "actual#", rows=rows), (0, 2)))

    def every_run_has_its_report(self) -> None:
        self._headline("Every run has its report: one page, which stays when the cloud is gone")
        for run in (run for run in runs_of(self.stack, [_PIPELINE]) if run.evaluation is not None):
            path = _STATE / "reports" / f"{run.run_id}.html"
            fetch(self.stack, run, path)
            console.print(Text.assemble(f"  {run.run_id:<24}", (str(path), "dim")), soft_wrap=True)

    def _headline(self, text: str) -> None:
        self._step += 1
        console.print()
        console.print(Rule(Text(f"{self._step} · {text}", style="bold"), align="left", style="dim"))

    def _retrain(self, *months: str) -> list[RunRecord]:
        """Uploads months together and waits until every run that follows has ended."""
        for made, verdict in self._upload([self.months[month] for month in months]):
            self._expect(verdict.outcome == "ACCEPTED", f"{made.key} accepted")
        runs = self._settle()
        for run in runs:
            self._show_run(run)
        return runs

    def _upload(self, files: Sequence[Path]) -> list[tuple[Uploaded, Verdict]]:
        """Uploads files at the same moment and shows their verdicts."""
        state = self.stack.pipeline(_PIPELINE)
        with waiting(f"  Uploading {', '.join(file.name for file in files)}"), ThreadPoolExecutor(len(files)) as pool:
            made = list(pool.map(lambda file: put(self.stack, state, file), files))
            verdicts = [await_verdict(self.stack, one, _VERDICT_TIMEOUT) for one in made]
        for one, verdict in zip(made, verdicts, strict=True):
            word = "DUPLICATE" if one.known else verdict.outcome
            counts = f"  {verdict.rows:,} rows, {verdict.bad_rows:,} bad"
            console.print(Text.assemble(f"  {Path(one.key).name:<24}", outcome(word), (counts, "dim")))
        return list(zip(made, verdicts, strict=True))

    def _settle(self) -> list[RunRecord]:
        """Waits until the pipeline is up to date and unowned; the runs that ended meanwhile."""
        with waiting("  Waiting for the runs to end"):
            await_idle(self.stack, _PIPELINE, _RUN_TIMEOUT)
        ended = [run for run in self.stack.ledger.runs(_PIPELINE) if run.run_id not in self._seen]
        self._seen.update(run.run_id for run in ended)
        for run in ended:
            if run.outcome is RunOutcome.FAILED and run.finding is not None:
                console.print(finding(run.finding, style="red"))
            self._expect(run.outcome is not RunOutcome.FAILED, f"no failure, and {run.run_id} failed")
        return ended

    def _only(self, runs: list[RunRecord]) -> RunRecord:
        self._expect(len(runs) == 1, f"one run, and saw {[run.run_id for run in runs]}")
        return runs[0]

    def _show_run(self, run: RunRecord) -> None:
        seen = ended_timeline(self.stack, run)  # a run is closed a moment before its execution ends
        console.print(Text.assemble(f"  {run.run_id:<24}", outcome(run.outcome), f"  {seconds(seen.seconds)}"))
        took = (f"{state.name} {state.seconds(state.ended or state.started):.1f}" for state in seen.states)
        console.print(Padding(Text(" · ".join(took), style="dim"), (0, 2, 0, 4)))
        self._show_message(run.run_id, found=run.finding)

    def _show_message(self, about: str, found: Finding | None) -> None:
        """What people were told of it, which must hold all four answers of the finding."""
        answers = (found.what, found.where, found.why, found.fix) if found else ()
        message = self.people.hear(about, *answers)
        self._expect(message is not None, f"a notification about {about} with {answers or 'its outcome'}")
        if message is not None:
            console.print(Text.assemble("    ✉ ", (message.subject, "bold")))
            console.print(Padding(Text(message.text.split("\n\nPipeline:")[0]), (0, 2, 0, 6)))

    def _records(self, month: str, count: int) -> list[dict[str, Any]]:
        """The first rows of a month, as a client would send them."""
        with self.months[month].open(newline="") as file:
            return [_typed(row) for row in itertools.islice(csv.DictReader(file), count)]

    def _champion(self) -> str | None:
        champion = self.stack.pipeline(_PIPELINE).champion
        return champion.run_id if champion else None

    def _expect(self, held: bool, promise: str) -> None:
        if not held:
            raise UnexpectedError(f"Step {self._step} promised {promise}. The embedded cloud's log is {_LOG}.")


@contextmanager
def _own_cloud() -> Iterator[Cloud]:
    """An embedded cloud that begins empty and is stopped at the end, whatever happens."""
    _STATE.mkdir(parents=True, exist_ok=True)
    with (_STATE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommandError("Another demo is running from this folder. Wait until it ends.") from error
        cloud = Cloud(CloudSettings(port=free_port(), state=_STATE / "cloud"))
        cloud.down()  # one that a killed demo left behind
        shutil.rmtree(cloud.settings.state, ignore_errors=True)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("The demo was told to stop."))
        try:
            yield cloud
        finally:
            cloud.down()


def _set_up(cloud: Cloud) -> tuple[Stack, dict[str, Path], Code]:
    """Builds, starts the cloud and reads the data at the same time, then deploys."""
    console.print("[bold]Ratchet demo[/]: the repository's own template, deployed to an embedded cloud on this machine")
    with waiting("  sam build, the embedded cloud's start and the data, side by side"), ThreadPoolExecutor() as pool:
        building = pool.submit(timed, build)
        starting = pool.submit(timed, cloud.up)
        packing = pool.submit(Code.pack)
        months = pool.submit(_write_months)
        built, started = building.result(), starting.result()
    console.print(f"  sam build {seconds(built)} · embedded cloud {seconds(started)} ({cloud.endpoint_url})")
    with waiting("  sam deploy"):
        deployed = timed(lambda: deploy_to(cloud, LOCAL_STACK))
    console.print(f"  sam deploy {seconds(deployed)}")
    return Stack.of_cloud(cloud), months.result(), packing.result()


def _write_months() -> dict[str, Path]:
    """The sample's monthly files: month -> path."""
    folder = _STATE / "data"
    folder.mkdir(exist_ok=True)
    written = {}
    for month, content in samples.traffic_months().items():
        written[month] = folder / f"traffic-{month}.csv"
        written[month].write_bytes(content)
    return written


def _typed(row: dict[str, str]) -> dict[str, Any]:
    """A CSV row with its numbers as numbers, and nothing where the file has nothing."""
    return {name: float(value) if _is_number(value) else value or None for name, value in row.items()}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
