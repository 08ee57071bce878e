"""What a prediction costs on its way: through the HTTP API and `predict`, through InvokeEndpoint, and in process.

The same model and the same records, one record a request, in turns, on the embedded cloud of this machine. In process
is the very inference code in the training environment's Python, called in a loop: the floor. Figures of one run; what
holds elsewhere is their ratio. AWS adds its network, and runs what shares two processors here side by side.
"""

import io
import itertools
import json
import statistics
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.overhead import deployed
from cli import samples
from cli.apply import Code, apply_definition
from cli.definition import read_definition
from cli.errors import CommandError
from cli.predict import ask
from cli.stack import Stack
from cli.upload import await_verdict, put
from cli.watch import await_idle
from local.cloud.settings import REPOSITORY
from local.sagemaker.containers import base_environment

PIPELINE = "serving"
SETTINGS = (f"name={PIPELINE}", "retrain.settle=0s", "gate.threshold=0.1", "gate.beat_naive=false")
MONTHS = 6
REQUESTS, ROUNDS, WARM_UP, CLIENTS = 100, 3, 20, 4
TIMEOUT = 300
TOO_MANY_REQUESTS = 429
IN_PROCESS = """
import inference, json, sys, time
model = inference.model_fn(sys.argv[1])
bodies = [json.dumps([record]) for record in json.load(open(sys.argv[2]))]
def answer(body):
    batch = inference.predict_fn(inference.input_fn(body, "application/json"), model)
    return inference.output_fn(batch, "application/json")
for body in bodies[:20]:
    answer(body)
spent = []
for body in bodies:
    started = time.perf_counter()
    answer(body)
    spent.append((time.perf_counter() - started) * 1000)
print(json.dumps(spent))
"""


@dataclass
class Way:
    """One way to a prediction: milliseconds of its requests, what failed, and requests a second of several clients."""

    milliseconds: list[float]
    failed: int = 0
    per_second: float = 0.0

    def figures(self, floor: float) -> dict[str, float]:
        """What is printed; `floor` is the median in process."""
        cuts = statistics.quantiles(self.milliseconds, n=100)
        return {
            "failed": self.failed,
            "p50_ms": round(cuts[49], 2),
            "p99_ms": round(cuts[98], 2),
            "per_second": round(self.per_second, 1),
            "ratio_to_in_process": round(cuts[49] / floor, 1),
        }


def main() -> None:
    """Prints a line for each way, and one JSON line: the figures of `predict`, with the others beside them."""
    with deployed() as (_, stack):
        records = serve(stack)
        ways = {"predict": Way([]), "invoke_endpoint": Way([]), "in_process": Way([])}
        for _ in range(ROUNDS):
            measure(ways["predict"], lambda record: through_api(stack, record), records)
            measure(ways["invoke_endpoint"], lambda record: ask(stack, PIPELINE, record), records)
            ways["in_process"].milliseconds += in_process(stack, records)
        flood(ways["predict"], lambda record: through_api(stack, record), records)
        flood(ways["invoke_endpoint"], lambda record: ask(stack, PIPELINE, record), records)
    floor = statistics.median(ways["in_process"].milliseconds)
    ways["in_process"].per_second = 1000 / floor
    figures = {name: way.figures(floor) for name, way in ways.items()}
    for name, found in figures.items():
        print(f"{name:16} " + "  ".join(f"{key} {value}" for key, value in found.items()))
    beside = {name: found for name, found in figures.items() if name != "predict"}
    print(json.dumps({**figures["predict"], **beside}))


def serve(stack: Stack) -> list[dict[str, Any]]:
    """A served model of some months of traffic; the records to ask it for."""
    apply_definition(stack, read_definition(REPOSITORY / "pipelines/traffic", SETTINGS), Code.pack())
    months = list(samples.traffic_months().items())[:MONTHS]
    with tempfile.TemporaryDirectory() as folder:
        for name, content in months:
            file = Path(folder) / f"{name}.csv"
            file.write_bytes(content)
            await_verdict(stack, put(stack, stack.pipeline(PIPELINE), file), TIMEOUT)
    await_idle(stack, PIPELINE, TIMEOUT)
    if stack.pipeline(PIPELINE).champion is None:
        raise CommandError(f"No model serves: {stack.ledger.runs(PIPELINE)[-1].because}")
    hours = [f"2017-02-{day:02}T{hour:02}:00:00" for day in range(1, 6) for hour in range(24)]
    return [{"datetime": hour, "clouds_all": 40, "temp": 270.5, "weather_main": "Clouds"} for hour in hours][:REQUESTS]


def through_api(stack: Stack, record: dict[str, Any]) -> None:
    """One signed request; it waits when the API says that there are too many."""
    for wait in (0.05, 0.2, 0.5, 1.0, None):
        answer = stack.api.post("pipelines", PIPELINE, "predictions", body={"records": [record]})
        if answer.status != TOO_MANY_REQUESTS or wait is None:
            break
        time.sleep(wait)
    if not answer.ok:
        raise CommandError(answer.reason)


def measure(way: Way, request: Callable[[dict[str, Any]], object], records: Sequence[dict[str, Any]]) -> None:
    """One request after the other."""
    for record in records[:WARM_UP]:
        attempt(way, request, record)
    for record in records:
        started = time.perf_counter()
        if attempt(way, request, record):
            way.milliseconds.append((time.perf_counter() - started) * 1000)


def flood(way: Way, request: Callable[[dict[str, Any]], object], records: Sequence[dict[str, Any]]) -> None:
    """Several clients at once, once there are as many environments of the function as clients."""
    load = list(itertools.chain.from_iterable(itertools.repeat(records, ROUNDS)))
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda record: attempt(way, request, record), records[:WARM_UP]))
        started = time.perf_counter()
        done = sum(pool.map(lambda record: attempt(way, request, record), load))
        way.per_second = done / (time.perf_counter() - started)


def attempt(way: Way, request: Callable[[dict[str, Any]], object], record: dict[str, Any]) -> bool:
    """Whether it was answered; what was not is counted."""
    try:
        request(record)
    except CommandError:
        way.failed += 1
        return False
    return True


def in_process(stack: Stack, records: Sequence[dict[str, Any]]) -> list[float]:
    """Milliseconds of the inference code alone, on the champion's own model."""
    champion = stack.pipeline(PIPELINE).champion
    assert champion is not None
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(stack.store.read(champion.model_uri))) as packed:
            packed.extractall(folder, filter="data")
        asked = Path(folder) / "records.json"
        asked.write_text(json.dumps(list(records)))
        done = subprocess.run(
            [REPOSITORY / ".envs/training/bin/python", "-c", IN_PROCESS, folder, asked],
            cwd=REPOSITORY / "jobs/model",
            env=base_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise CommandError(f"The model did not run in process: {done.stderr.strip()[-500:]}")
        return [float(value) for value in json.loads(done.stdout)]


if __name__ == "__main__":
    main()
