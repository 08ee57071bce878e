"""`python -m local.cloud --port N --state DIR`: one embedded cloud in the foreground."""

import argparse
from dataclasses import fields
from pathlib import Path

from local.cloud.launch import run
from local.cloud.settings import CloudSettings


def _parse() -> CloudSettings:
    parser = argparse.ArgumentParser(prog="python -m local.cloud", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="the loopback port of every service")
    parser.add_argument("--state", type=Path, required=True, help="the folder that keeps everything between starts")
    defaults = {field.name: field.default for field in fields(CloudSettings)}
    for name in ("account", "region", "without"):
        parser.add_argument(f"--{name}", default=defaults[name])
    parser.add_argument("--speed", type=float, default=defaults["speed"])
    for name in ("lambda", "training", "glue"):
        parser.add_argument(f"--{name}-python", type=Path, default=defaults[f"{name}_python"])
    arguments = vars(parser.parse_args())
    return CloudSettings(**{**arguments, "state": arguments["state"].resolve()})


if __name__ == "__main__":
    run(_parse())
