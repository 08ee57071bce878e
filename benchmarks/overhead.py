"""What the system costs besides the work: upload to InService, beside the same four scripts started by hand.

Both do the same on the same 24 months of traffic, in turns: preprocess, train, score the holdout, serve. By hand each
script is a fresh process, its inputs already on disk, and nobody validates, decides, records, registers or verifies.
"""

import http.client
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli import samples
from cli.apply import Code, apply_definition
from cli.definition import read_definition
from cli.deploy import build, deploy_to, timed
from cli.history import timeline
from cli.stack import LOCAL_STACK, Stack
from cli.upload import await_verdict, put
from cli.watch import await_idle, ended_timeline
from local.cloud.process import Cloud, CloudSettings, free_port
from local.cloud.settings import REPOSITORY
from local.sagemaker.containers import base_environment
from ratchet.contracts.run import RunOutcome
from ratchet.domain.ledger import RunRecord

ROUNDS = 3
TIMEOUT = 300
# No settle time: waiting for more uploads is a policy, not a cost. A low bar, so that every round deploys.
SETTINGS = ("retrain.settle=0s", "retrain.schedule=null", "gate.threshold=0.1", "gate.beat_naive=false")
DUPLICATE_PATH = ("Validate Data", "What Is The Verdict?", "Already Known")
SCORE = """
import inference, pathlib, sys
model = inference.model_fn(sys.argv[1])
with open(sys.argv[3], "w") as scored:
    for file in sorted(pathlib.Path(sys.argv[2]).glob("*.jsonl")):
        records = inference.json.dumps([inference.json.loads(line)["record"] for line in file.open()])
        batch = inference.predict_fn(inference.input_fn(records, "application/json"), model)
        scored.write(inference.output_fn(batch, "application/jsonlines"))
"""


@dataclass(frozen=True)
class Round:
    """Seconds of one round, both ways."""

    system: float
    by_hand: Mapping[str, float]

    @property
    def ratio(self) -> float:
        return self.system / sum(self.by_hand.values())


def main() -> None:
    """Measures, prints a table, and the figures as one JSON object on the last line."""
    with deployed() as (cloud, stack):
        upload = Path(cloud.settings.state) / "traffic.csv"
        upload.write_bytes(one_file(samples.traffic_months()))
        rounds, last = [], None
        for number in range(1, ROUNDS + 1):
            seconds, last = system_round(stack, f"bench-{number}", upload)
            rounds.append(Round(seconds, ByHand(cloud, stack, last).measure()))
            by_hand = "  ".join(f"{name} {took:.2f}" for name, took in rounds[-1].by_hand.items())
            print(
                f"round {number}: system {seconds:.2f} s, by hand {sum(rounds[-1].by_hand.values()):.2f} s ({by_hand})"
            )
        assert last is not None
        transitions = retrain_transitions(stack, last)
        ingest = timeline(stack.executions, newest_ingest(stack)).transitions
        duplicate = duplicate_transitions(stack, last.pipeline, upload)
    figures = {
        "ratio": round(statistics.median(one.ratio for one in rounds), 3),
        "first_ratio": round(rounds[0].ratio, 3),  # every function and container starts cold
        "system_seconds": round(statistics.median(one.system for one in rounds), 2),
        "by_hand_seconds": round(statistics.median(sum(one.by_hand.values()) for one in rounds), 2),
        "transitions": transitions,  # of retrain, a Standard workflow: AWS bills each
        "transitions_ingest": ingest,  # of an Express workflow: AWS bills the request and its time
        "transitions_duplicate": duplicate,
        "rounds": ROUNDS,
    }
    print(json.dumps(figures))


@contextmanager
def deployed() -> Iterator[tuple[Cloud, Stack]]:
    """A fresh embedded cloud with the real template in it."""
    with tempfile.TemporaryDirectory() as state:
        cloud = Cloud(CloudSettings(port=free_port(), state=Path(state)))
        try:
            cloud.up()
            print(f"sam build {timed(build):.1f} s, sam deploy {timed(lambda: deploy_to(cloud, LOCAL_STACK)):.1f} s")
            yield cloud, Stack.of_cloud(cloud)
        finally:
            cloud.down()


def one_file(months: Mapping[str, bytes]) -> bytes:
    """All months as one CSV file."""
    header, _, _ = next(iter(months.values())).partition(b"\n")
    return b"\n".join([header, *(month.partition(b"\n")[2].rstrip(b"\n") for month in months.values()), b""])


def system_round(stack: Stack, pipeline: str, upload: Path) -> tuple[float, RunRecord]:
    """Seconds from the upload until the endpoint is InService with the new model, and the run that did it."""
    definition = read_definition(REPOSITORY / "pipelines/traffic", [f"name={pipeline}", *SETTINGS])
    apply_definition(stack, definition, Code.pack())
    sagemaker = stack.session.client("sagemaker")
    state = stack.pipeline(pipeline)
    started = time.monotonic()
    put(stack, state, upload)
    while not any(
        found["EndpointStatus"] == "InService"
        for found in sagemaker.list_endpoints(NameContains=stack.endpoint_name(pipeline))["Endpoints"]
    ):
        assert time.monotonic() - started < TIMEOUT, f"{pipeline} never came into service"
        time.sleep(0.02)
    seconds = time.monotonic() - started
    await_idle(stack, pipeline, TIMEOUT)
    (run,) = stack.ledger.runs(pipeline)
    assert run.outcome is RunOutcome.DEPLOYED, run.finding
    return seconds, run


def retrain_transitions(stack: Stack, run: RunRecord) -> int:
    """All states of the run, those inside its Maps too."""
    return ended_timeline(stack, run).transitions


def newest_ingest(stack: Stack) -> str:
    listed = stack.executions.list_executions(stateMachineArn=stack.outputs.ingest_state_machine_arn)["executions"]
    return max(listed, key=lambda execution: execution["startDate"])["executionArn"]


def duplicate_transitions(stack: Stack, pipeline: str, upload: Path) -> int:
    """Transitions that the same bytes under another name cost."""
    before = newest_ingest(stack)
    again = upload.with_name("again.csv")
    again.write_bytes(upload.read_bytes())
    await_verdict(stack, put(stack, stack.pipeline(pipeline), again), TIMEOUT)
    until(lambda: newest_ingest(stack) != before)
    found = newest_ingest(stack)
    until(lambda: timeline(stack.executions, found).status != "RUNNING")
    states = timeline(stack.executions, found).states
    assert tuple(state.name for state in states) == DUPLICATE_PATH, states
    return len(states)


class ByHand:
    """The four scripts of a run, started one after the other as fresh processes on the run's own inputs."""

    def __init__(self, cloud: Cloud, stack: Stack, run: RunRecord) -> None:
        self._cloud, self._stack, self._run = cloud, stack, run
        self._folder = Path(tempfile.mkdtemp(dir=cloud.settings.state))
        self._model = self._folder / "model"

    def measure(self) -> dict[str, float]:
        """Seconds of each script."""
        self._fetch_inputs()
        return {
            "preprocess": timed(self._preprocess),
            "train": timed(self._train),
            "transform": timed(self._transform),
            "serve": timed(self._serve),
        }

    def _fetch_inputs(self) -> None:
        """What SageMaker would bring: channels, the definition, the holdout, the wheel."""
        plan = self._run.plan
        assert plan is not None
        assert plan.train is not None
        assert plan.preprocess is not None
        self._arguments = plan.preprocess.arguments
        self._fetch(plan.train.train_uri, "train")
        self._fetch(plan.train.validation_uri, "validation")
        self._fetch(plan.train.definition_uri, "definition")
        self._fetch(f"{plan.preprocess.output_uri}holdout/", "holdout")
        self._fetch(self._arguments["--additional-python-modules"], "wheel")
        for name in ("model/code", "output"):
            (self._folder / name).mkdir(parents=True)
        for script in ("inference.py", "features.py"):
            (self._model / "code" / script).write_bytes((REPOSITORY / "jobs/model" / script).read_bytes())

    def _fetch(self, uri: str, name: str) -> None:
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        (self._folder / name).mkdir()
        for entry in self._stack.s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]:
            self._stack.s3.download_file(bucket, entry["Key"], str(self._folder / name / Path(entry["Key"]).name))

    def _preprocess(self) -> None:
        (wheel,) = (self._folder / "wheel").iterdir()
        named = {name: self._arguments[name] for name in ("--snapshot", "--definition")}
        output = self._arguments["--output"].replace("/steps/", "/by-hand/")
        arguments = [part for pair in {**named, "--output": output}.items() for part in pair]
        script = REPOSITORY / "jobs/preprocess/preprocess.py"
        environment = {**self._cloud.environment(), "PYTHONPATH": str(wheel)}
        self._python(self._cloud.settings.glue_python, [str(script), *arguments], environment)

    def _train(self) -> None:
        candidate = self._run.selection.candidate if self._run.selection else None
        assert candidate is not None
        channels = {f"SM_CHANNEL_{name.upper()}": name for name in ("train", "validation", "definition")}
        folders = {**channels, "SM_MODEL_DIR": "model", "SM_OUTPUT_DIR": "output", "SM_OUTPUT_DATA_DIR": "output"}
        environment = {
            **{name: str(self._folder / folder) for name, folder in folders.items()},
            "SM_HPS": json.dumps({k: as_sagemaker(v) for k, v in candidate.hyperparameters.items()}),
        }
        self._python(self._cloud.settings.training_python, [str(REPOSITORY / "jobs/model/train.py")], environment)

    def _transform(self) -> None:
        arguments = ["-c", SCORE, str(self._model), str(self._folder / "holdout"), str(self._folder / "scored.jsonl")]
        environment = {"PYTHONPATH": str(self._model / "code")}
        self._python(self._cloud.settings.training_python, arguments, environment)

    def _serve(self) -> None:
        """Until the server answers its health check."""
        port_file = self._folder / "port"
        environment = {
            "SAGEMAKER_BASE_DIR": str(self._folder),
            "SAGEMAKER_PROGRAM": "inference.py",
            "SAGEMAKER_SUBMIT_DIRECTORY": str(self._model / "code"),
            "SAGEMAKER_BIND_TO_PORT": "0",
            "SAGEMAKER_PORT_FILE": str(port_file),
        }
        python = self._cloud.settings.training_python
        command = [str(python), str(REPOSITORY / "local/sagemaker/serving.py")]
        server = subprocess.Popen(command, env={**base_environment(), **environment})
        try:
            until(lambda: port_file.exists() and ping(int(port_file.read_text())))
        finally:
            server.terminate()
            server.wait()

    def _python(self, python: Path, arguments: list[str], environment: Mapping[str, str]) -> None:
        command = [str(python), *arguments]
        subprocess.run(command, env={**base_environment(), **environment}, check=True, stdout=subprocess.DEVNULL)


def as_sagemaker(value: str) -> object:
    """A hyperparameter as the training toolkit hands it to the script: JSON where it is JSON."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def ping(port: int) -> bool:
    """Whether a serving process on the port is healthy."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/ping")
    return connection.getresponse().status == http.client.OK


def until(condition: Callable[[], bool]) -> None:
    """Returns once the condition holds."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


if __name__ == "__main__":
    main()
