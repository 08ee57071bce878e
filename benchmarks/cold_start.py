"""What a cold start costs before the first line of work: each handler's imports beside boto3's, each package's size.

Every import is a fresh process of the Lambda environment over what `sam build` made, with the variables that the
template gives to all; all take turns, and the first turn, which compiles, does not count. A busy machine slows all of
them, so the ratios of CPU time are shown too.
"""

import json
import os
import statistics
import subprocess
from pathlib import Path

from cli.deploy import build
from tests.template.reading import template

ROUNDS = int(os.environ.get("ROUNDS", "7"))
REPOSITORY = Path(__file__).parents[1]
BUILT = REPOSITORY / ".aws-sam" / "build"
PYTHON = REPOSITORY / ".envs" / "lambda" / "bin" / "python"
SLOW = frozenset({"validate_data", "evaluate_model"})  # by what they are for: the engine of validation, numpy
LARGE = frozenset({"validate_data", "evaluate_model", "score_upload", "validation_layer"})  # likewise
# What every function has; pydantic and powertools read them while they are imported.
GLOBALS = template()["Globals"]["Function"]
VARIABLES = {name: value for name, value in GLOBALS["Environment"]["Variables"].items() if isinstance(value, str)}
TIMED = (
    "import time; wall, cpu = time.perf_counter(), time.process_time(); import {}; "
    "print(time.perf_counter() - wall, time.process_time() - cpu)"
)


def main() -> None:
    """Measures, prints a table, and the figures as one JSON object on the last line."""
    build()
    functions = {snake(path.name.removesuffix("Function")): path for path in sorted(BUILT.glob("*Function"))}
    layers = [BUILT / layer["Ref"] for layer in GLOBALS["Layers"]]
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ("boto3", *functions)}
    for turn in range(ROUNDS + 1):
        for name, measured in times.items():
            found = imported(functions.get(name), layers)
            if turn:
                measured.append(found)
    sizes = {path.name: megabytes(path) for path in (*BUILT.glob("*Layer"), *functions.values())}
    ratios = {name: ratio(times, name, 0) for name in functions}
    print(f"load {os.getloadavg()[0]:.1f}; boto3 alone {statistics.median(wall for wall, _ in times['boto3']):.3f} s")
    print(f"{'':20} {'import s':>9} {'ratio':>6} {'of CPU':>7} {'MB':>7}")
    for name, path in functions.items():
        seconds = statistics.median(wall for wall, _ in times[name])
        print(f"{name:20} {seconds:9.3f} {ratios[name]:6.2f} {ratio(times, name, 1):7.2f} {sizes[path.name]:7.1f}")
    for name in sorted(path.name for path in BUILT.glob("*Layer")):
        print(f"{name:20} {'':24} {sizes[name]:7.1f}")
    light = {name: found for name, found in ratios.items() if name not in SLOW}
    worst = max(light, key=lambda name: light[name])
    figures = {
        "worst_ratio": round(light[worst], 2),
        "worst_handler": worst,
        "worst_ratio_cpu": round(max(ratio(times, name, 1) for name in light), 2),
        "largest_mb": round(max(sizes.values()), 1),
        "largest_light_mb": round(max(size for name, size in sizes.items() if snake_of(name) not in LARGE), 1),
        "rounds": ROUNDS,
    }
    print(json.dumps(figures))


def imported(function: Path | None, layers: list[Path]) -> tuple[float, float]:
    """Seconds and CPU seconds that importing a function's handler takes; boto3's without a function."""
    paths = [str(function), *(str(layer / "python") for layer in layers)] if function else []
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ}
    answer = subprocess.run(
        [str(PYTHON), "-c", TIMED.format("app" if function else "boto3")],
        env={**kept, **VARIABLES, "PYTHONPATH": os.pathsep.join(paths), "AWS_DEFAULT_REGION": "eu-west-1"},
        check=True,
        capture_output=True,
        text=True,
    )
    wall, cpu = map(float, answer.stdout.split())
    return wall, cpu


def ratio(times: dict[str, list[tuple[float, float]]], name: str, which: int) -> float:
    """The median over rounds of a handler's time by boto3's in the same round."""
    pairs = zip(times[name], times["boto3"], strict=True)
    return statistics.median(own[which] / boto3[which] for own, boto3 in pairs)


def megabytes(folder: Path) -> float:
    """Unzipped, without the bytecode that running it here left."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return sum(path.stat().st_size for path in files) / 1e6


def snake(name: str) -> str:
    """`ValidateData` → `validate_data`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def snake_of(resource: str) -> str:
    """The function of a logical id."""
    return snake(resource.removesuffix("Function"))


if __name__ == "__main__":
    main()
