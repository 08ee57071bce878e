"""The serving container under the script-mode contract, asked as hosting asks it."""

import http.client
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent

import pytest

import local.sagemaker
from local.sagemaker.containers import base_environment
from tests.integration.sagemaker.cloud import PYTHON
from tests.integration.sagemaker.fakes import until

SERVING = Path(local.sagemaker.__file__).with_name("serving.py")
MODEL_FN = "def model_fn(model_dir):\n    return {'dir': model_dir}\n"
ECHO = MODEL_FN + "def predict_fn(data, model):\n    return data\ndef output_fn(data, accept):\n    return repr(data)\n"


class Served:
    """A serving process and one connection to it."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def __call__(
        self, body: bytes | str, content_type: str | None = "application/json", accept: str | None = None
    ) -> tuple[int, str | None, str]:
        """Status, content type and text of an answer."""
        given = {"Content-Type": content_type, "Accept": accept}
        self.connection.request("POST", "/invocations", body, {k: v for k, v in given.items() if v})
        response = self.connection.getresponse()
        return response.status, response.getheader("Content-Type"), response.read().decode()


Serve = Callable[..., Served]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a serving process for inference code."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(code: str, **env: str) -> Served:
        (tmp_path / "model/code").mkdir(parents=True)
        (tmp_path / "model/code/inference.py").write_text(dedent(code))
        environment = {
            **base_environment(),
            "SAGEMAKER_BASE_DIR": str(tmp_path),
            "SAGEMAKER_PROGRAM": "inference.py",
            "SAGEMAKER_BIND_TO_PORT": "0",
            "SAGEMAKER_PORT_FILE": str(tmp_path / "port"),
            **env,
        }
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen([PYTHON, str(SERVING)], env=environment, stdout=log, stderr=log)
        processes.append(process)
        until(lambda: (tmp_path / "port").exists() or process.poll() is not None)
        return Served(process, int((tmp_path / "port").read_text()) if process.poll() is None else 0)

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_ping_and_nothing_else(serve: Serve) -> None:
    served = serve(ECHO)
    for method, path, status in (("GET", "/ping", 200), ("GET", "/", 404), ("POST", "/ping", 404)):
        served.connection.request(method, path)
        response = served.connection.getresponse()
        assert (response.status, response.read()) == (status, b"")


def test_the_four_functions(serve: Serve) -> None:
    served = serve("""
        def model_fn(model_dir):
            return [model_dir]
        def input_fn(body, content_type):
            return [body, content_type]
        def predict_fn(data, model):
            return data + model
        def output_fn(prediction, accept):
            return repr(prediction + [accept]), "text/plain"
    """)
    status, kind, text = served(b"\xffbytes", "application/x-own", "text/own")
    assert (status, kind) == (200, "text/plain")
    body, content_type, model_dir, accept = eval(text)  # noqa: S307 - what the test's own code wrote
    assert (body, content_type, accept) == (b"\xffbytes", "application/x-own", "text/own")
    assert model_dir.endswith("/model")


def test_json_and_csv_arrive_as_text(serve: Serve) -> None:
    served = serve(ECHO + "def input_fn(body, content_type):\n    return type(body).__name__\n")
    kinds = ["application/json", "text/csv", "text/csv; charset=utf-8", "application/jsonlines", None]
    assert [served("1", kind)[2] for kind in kinds] == ["'str'", "'str'", "'str'", "'bytes'", "'str'"]


def test_accept_defaults_to_json(serve: Serve) -> None:
    accept = MODEL_FN + "def input_fn(*_): pass\ndef predict_fn(*_): pass\ndef output_fn(_, accept): return accept\n"
    served = serve(accept.replace("*_", "a, b"))
    assert [served("", accept=given)[2] for given in (None, "*/*", "text/csv")] == ["application/json"] * 2 + [
        "text/csv"
    ]


def test_the_default_accept_can_be_set(serve: Serve) -> None:
    served = serve(ECHO + "def input_fn(a, b): pass\n", SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT="text/csv")
    assert served("")[1] == "text/csv"


def test_transform_fn_does_it_all(serve: Serve) -> None:
    code = (
        MODEL_FN
        + "def transform_fn(model, data, content_type, accept):\n    return f'{data} {content_type} {accept}', accept\n"
    )
    assert serve(code)("in", "text/csv", "text/own")[1:] == ("text/own", "in text/csv text/own")


def test_a_function_may_take_the_context(serve: Serve) -> None:
    code = (
        ECHO + "def input_fn(body, kind, context):\n    return context.system_properties['model_dir'].split('/')[-1]\n"
    )
    assert serve(code)("")[2] == "'model'"


def test_the_defaults_read_csv_and_write_json_csv_and_npy(serve: Serve) -> None:
    served = serve("""
        import numpy as np, xgboost as xgb
        def model_fn(model_dir):
            data = np.array([[0.0, 1.0], [1.0, 0.0]] * 20)
            return xgb.train({"min_child_weight": 0}, xgb.DMatrix(data, data[:, 0]), 40)
    """)
    status, _, text = served("0,1\n1,0", "text/csv")
    assert status == 200
    assert [round(value) for value in json.loads(text)] == [0, 1]
    assert len(served("0,1\n1,0", "text/csv", "text/csv")[2].splitlines()) == 2
    assert len(served("0 0:0 1:1\n", "text/libsvm", "application/json")[2]) > 2
    status, _, text = served("{}", "application/json")
    assert (status, text.splitlines()[0]) == (415, "Content type application/json is not supported by this framework.")
    assert served("0,1", "text/csv", "image/png")[0] == 415


def test_an_exception_is_a_server_error_with_its_traceback(serve: Serve) -> None:
    status, _, text = serve(ECHO + "def input_fn(body, kind):\n    raise ValueError('no such column')\n")("1")
    assert status == 500
    assert text.startswith("no such column\nTraceback (most recent call last):")


def test_an_exception_may_bring_its_status(serve: Serve) -> None:
    bad = "class Bad(Exception):\n    status_code = 400\n    message = 'bad row'\n"
    status, _, text = serve(ECHO + bad + "def input_fn(body, kind):\n    raise Bad\n")("1")
    assert (status, text.splitlines()[0]) == (400, "bad row")


def test_a_server_survives_its_errors(serve: Serve) -> None:
    served = serve(ECHO + "def input_fn(body, kind):\n    return 1 / int(body)\n")
    assert [served(body)[0] for body in ("1", "0", "1")] == [200, 500, 200]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def predict_fn(data, model): pass", "Please provide a model_fn implementation"),
        (MODEL_FN + "def transform_fn(a, b, c, d): pass\ndef input_fn(a, b): pass", "Cannot use transform_fn"),
        ("def model_fn(model_dir): raise OSError('no model')", "OSError: no model"),
        ("import absent_library", "ModuleNotFoundError"),
    ],
)
def test_what_does_not_load_ends(serve: Serve, tmp_path: Path, code: str, message: str) -> None:
    assert serve(code).process.wait(20) == 1
    assert message in (tmp_path / "log").read_text()


def test_without_a_program_there_is_nothing_to_serve(serve: Serve, tmp_path: Path) -> None:
    assert serve(ECHO, SAGEMAKER_PROGRAM="").process.wait(20) == 1
    assert "SAGEMAKER_PROGRAM is not set" in (tmp_path / "log").read_text()


def test_code_imports_its_neighbours_and_none_of_ours(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    code = """
        def model_fn(model_dir):
            import importlib.util
            return importlib.util.find_spec("zygote") is None and importlib.util.find_spec("inference") is not None
        def input_fn(body, kind): pass
        def predict_fn(data, model): return model
    """
    (tmp_path / "model").rmdir()
    assert serve(code)("")[2] == "true"


def test_requests_are_answered_at_the_same_time(serve: Serve) -> None:
    meeting = "import threading\nall_five = threading.Barrier(5)\n"
    served = serve(ECHO + meeting + "def input_fn(body, kind):\n    all_five.wait(10)\n")
    with ThreadPoolExecutor(5) as pool:
        answers = [pool.submit(Served(served.process, served.port), "") for _ in range(5)]
    assert [answer.result()[0] for answer in answers] == [200] * 5


def test_a_connection_serves_many_requests_without_delay(serve: Serve) -> None:
    served = serve(ECHO + "def input_fn(body, kind):\n    return len(body)\n")
    durations = []
    for size in (1, 10_000, 3_000_000) * 10:
        begun = time.monotonic()
        assert served("x" * size)[2] == str(size)
        durations.append(time.monotonic() - begun)
    # A server that lets Nagle's algorithm wait needs 40 ms for each of them.
    assert sorted(durations)[10] < 0.03
