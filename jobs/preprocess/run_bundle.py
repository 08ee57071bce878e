"""Glue job: runs the script that `--script_uri` names.

A Glue run can change its arguments but not its ScriptLocation, and a run must use the very script its definition was
made with; so the job's own script is this one, which fetches the other by its content address.
"""

import runpy
import sys
import tempfile
from pathlib import Path

import boto3


def main(argv: list[str]) -> None:
    """Fetches the script and runs it in this process, with the same arguments."""
    bucket, _, key = argv[argv.index("--script_uri") + 1].removeprefix("s3://").partition("/")
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / Path(key).name
        boto3.client("s3").download_file(bucket, key, str(script))
        runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main(sys.argv)
