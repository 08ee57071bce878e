"""T15: what a function's process sees of the machine it runs on."""

import os
import time
from pathlib import Path
from typing import Any

from ministack.core import lambda_runtime
from ministack.core.responses import get_region


def variables(config: dict[str, Any], code: Path, folder: str) -> dict[str, str]:
    """What a function's process sees: Lambda's documented variables, the function's own, and the cloud's address."""
    logging = config.get("LoggingConfig") or {}
    name, runtime, version = config["FunctionName"], config["Runtime"], config.get("Version", "$LATEST")
    own = (config.get("Environment") or {}).get("Variables") or {}
    lambdas = {
        "_HANDLER": config["Handler"],
        "AWS_DEFAULT_REGION": get_region(),
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config.get("MemorySize", 128)),
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": version,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_FORMAT": logging.get("LogFormat", "Text"),
        "AWS_LAMBDA_LOG_GROUP_NAME": logging.get("LogGroup") or f"/aws/lambda/{name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": f"{time.strftime('%Y/%m/%d')}/[{version}]{os.urandom(16).hex()}",
        "AWS_REGION": get_region(),
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:2000",
        "LAMBDA_TASK_ROOT": str(code),
        **lambda_runtime.execution_credentials(config),
    }
    if logging.get("LogFormat") == "JSON":
        lambdas["AWS_LAMBDA_LOG_LEVEL"] = logging.get("ApplicationLogLevel", "INFO")
    # Not Lambda's: where the cloud is, and a folder in place of the /tmp that an environment has to itself on AWS.
    local = {
        "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"],
        "AWS_EC2_METADATA_DISABLED": "true",
        lambda_runtime.HOST_PREFIX_ENV: "true",
        "TMPDIR": folder,
    }
    defaults = {"LANG": "en_US.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin", "TZ": ":UTC"}
    return {**local, **defaults, **own, **lambdas}
