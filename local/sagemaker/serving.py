"""The serving container: `/ping` and `/invocations` under the XGBoost container's script-mode contract.

Runs on the container's interpreter, standard library only besides the user's code. The contract (names, defaults,
argument order, status codes) is that of sagemaker-inference-toolkit and sagemaker-xgboost-container.
"""

import contextlib
import importlib
import inspect
import io
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

JSON, CSV, LIBSVM, NPY, ANY = "application/json", "text/csv", "text/libsvm", "application/x-npy", "*/*"


class UnsupportedFormatError(Exception):
    """The content type is one that the default functions cannot read or write."""

    status_code = HTTPStatus.UNSUPPORTED_MEDIA_TYPE

    def __init__(self, content_type: str) -> None:
        super().__init__(f"Content type {content_type} is not supported by this framework.")


class Service:
    """The user's functions around the loaded model, the container's defaults where there are none."""

    def __init__(self, model_dir: str, module: Any) -> None:
        if not hasattr(module, "model_fn"):
            raise NotImplementedError("Please provide a model_fn implementation.")
        parts = [getattr(module, name, None) for name in ("input_fn", "predict_fn", "output_fn")]
        self._transform_fn: Callable[..., Any] | None = getattr(module, "transform_fn", None)
        if self._transform_fn and any(parts):
            raise ValueError(
                "Cannot use transform_fn implementation in conjunction with "
                "input_fn, predict_fn, and/or output_fn implementation"
            )
        self._input_fn = parts[0] or default_input_fn
        self._predict_fn = parts[1] or default_predict_fn
        self._output_fn = parts[2] or default_output_fn
        self._context = SimpleNamespace(system_properties={"model_dir": model_dir, "gpu_id": None})
        self._default_accept = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", JSON)
        self._model = self._call(module.model_fn, model_dir)

    def transform(self, body: bytes, content_type: str, accept: str) -> tuple[bytes, str]:
        """The encoded answer and its content type."""
        wanted = self._default_accept if accept in ("", ANY) else accept
        data = body.decode() if _media_type(content_type) in (JSON, CSV) else body
        if self._transform_fn:
            result = self._call(self._transform_fn, self._model, data, content_type, wanted)
        else:
            prediction = self._call(self._predict_fn, self._call(self._input_fn, data, content_type), self._model)
            result = self._call(self._output_fn, prediction, wanted)
        response, answered = result if isinstance(result, tuple) else (result, wanted)
        return response.encode() if isinstance(response, str) else bytes(response), answered

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if len(inspect.signature(function).parameters) == len(arguments) + 1:
            return function(*arguments, self._context)
        return function(*arguments)


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def default_input_fn(data: Any, content_type: str) -> Any:
    """CSV and LIBSVM become a DMatrix."""
    import numpy as np  # noqa: PLC0415 - the container has it, and code with its own input_fn does not wait for it
    import xgboost as xgb  # noqa: PLC0415

    if _media_type(content_type) == CSV:
        return xgb.DMatrix(np.genfromtxt(io.StringIO(data), delimiter=",", ndmin=2))
    if _media_type(content_type) in (LIBSVM, "text/x-libsvm"):
        with tempfile.NamedTemporaryFile() as file:
            file.write(data if isinstance(data, bytes) else data.encode())
            file.flush()
            return xgb.DMatrix(f"{file.name}?format=libsvm")
    raise UnsupportedFormatError(content_type)


def default_predict_fn(data: Any, model: Any) -> Any:
    """The booster's own prediction."""
    return model.predict(data, validate_features=False)


def default_output_fn(prediction: Any, accept: str) -> str | bytes:
    """JSON, CSV or NPY of anything array-like."""
    if accept == JSON:
        return json.dumps(prediction, default=lambda item: item.tolist())
    import numpy as np  # noqa: PLC0415

    if accept == CSV:
        text = io.StringIO()
        np.savetxt(text, prediction, delimiter=",", fmt="%s")
        return text.getvalue()
    if accept == NPY:
        binary = io.BytesIO()
        np.save(binary, prediction)
        return binary.getvalue()
    raise UnsupportedFormatError(accept)


class Handler(BaseHTTPRequestHandler):
    """One connection; several are served at once and stay open between requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    service: Service

    def do_GET(self) -> None:
        """A container that answers `/ping` has loaded its model."""
        self._answer(HTTPStatus.OK if self.path == "/ping" else HTTPStatus.NOT_FOUND, b"", JSON)

    def do_POST(self) -> None:
        """`/invocations`: an exception's `status_code` is the answer's status, else 500, as in the toolkit."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path != "/invocations":
            return self._answer(HTTPStatus.NOT_FOUND, b"", JSON)
        content_type, accept = self.headers.get("Content-Type") or JSON, self.headers.get("Accept") or ""
        try:
            response, answered = self.service.transform(body, content_type, accept)
        except Exception as error:  # noqa: BLE001 - whatever user code raises is answered, not fatal
            traceback.print_exc()
            status = int(getattr(error, "status_code", HTTPStatus.INTERNAL_SERVER_ERROR))
            message = str(getattr(error, "message", error))
            return self._answer(status, f"{message}\n{traceback.format_exc()}".encode(), "text/plain")
        return self._answer(HTTPStatus.OK, response, answered)

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Requests are not logged."""


class Server(ThreadingHTTPServer):
    """Threads end with the process; a client that went away is no error."""

    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    """Loads the model, then listens; the port that was taken is written where the starter waits for it."""
    base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
    model_dir = base / "model"
    program = os.environ.get("SAGEMAKER_PROGRAM", "")
    if not program:
        sys.exit("SAGEMAKER_PROGRAM is not set: only script mode is served here")
    sys.path[0] = os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY", str(model_dir / "code"))
    Handler.service = Service(str(model_dir), importlib.import_module(Path(program).stem))
    with Server(("127.0.0.1", int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))), Handler) as server:
        port_file = Path(os.environ["SAGEMAKER_PORT_FILE"])
        announced = port_file.with_suffix(".new")  # its own: the containers of one model share the folder
        announced.write_text(str(server.server_port))
        announced.rename(port_file)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
