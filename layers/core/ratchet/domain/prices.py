"""AWS list prices in US dollars, on demand, us-east-1, without free tiers: what a run costs, and what reuse saves.

Source: the services' public pricing pages as of AS_OF. A bill differs by region, discount and free tier; ratios hold.
"""

from collections.abc import Mapping
from types import MappingProxyType

AS_OF = "2025-07-01"
REGION = "us-east-1"

LAMBDA_GB_SECOND: Mapping[str, float] = MappingProxyType({"arm64": 0.0000133334, "x86_64": 0.0000166667})
LAMBDA_REQUEST = 0.20 / 1_000_000
STATE_TRANSITION = 0.025 / 1_000  # Standard workflows
EXPRESS_REQUEST = 1.00 / 1_000_000
EXPRESS_GB_SECOND = 0.00001667  # in steps of 100 ms and 64 MB
GLUE_DPU_HOUR = 0.44
GLUE_MINIMUM_SECONDS = 60  # Glue 2.0 and later
S3_PUT = 0.005 / 1_000  # PUT, COPY, POST, LIST
S3_GET = 0.0004 / 1_000
DYNAMODB_WRITE = 0.625 / 1_000_000  # a write request unit: 1 KB; in a transaction it counts twice
DYNAMODB_READ = 0.125 / 1_000_000  # a read request unit: 4 KB, consistent
EVENT = 1.00 / 1_000_000  # a custom event on EventBridge
SCHEDULED_INVOCATION = 1.00 / 1_000_000
SNS_REQUEST = 0.50 / 1_000_000
SQS_REQUEST = 0.40 / 1_000_000

GLUE_DPUS: Mapping[str, float] = MappingProxyType({"G.1X": 1, "G.2X": 2, "G.4X": 4, "G.8X": 8})

# Training, batch transform and hosting have one price per instance type and hour.
INSTANCE_HOUR: Mapping[str, float] = MappingProxyType(
    {
        "ml.m5.large": 0.115,
        "ml.m5.xlarge": 0.230,
        "ml.m5.2xlarge": 0.461,
        "ml.m5.4xlarge": 0.922,
        "ml.m5.12xlarge": 2.765,
        "ml.m5.24xlarge": 5.530,
        "ml.c5.xlarge": 0.204,
        "ml.c5.2xlarge": 0.408,
        "ml.c5.4xlarge": 0.816,
        "ml.c5.9xlarge": 1.836,
        "ml.c5.18xlarge": 3.672,
        "ml.g4dn.xlarge": 0.7364,
        "ml.p3.2xlarge": 3.825,
    }
)


def glue_dollars(seconds: float, dpus: float) -> float:
    """A Spark job run of `seconds` on `dpus` data processing units."""
    return max(seconds, GLUE_MINIMUM_SECONDS) / 3600 * dpus * GLUE_DPU_HOUR


def glue_job_dollars(seconds: float | None, worker_type: str | None, workers: int | None) -> float | None:
    """A job run as Glue describes it; None when it does not say what it ran on."""
    dpus = GLUE_DPUS.get(worker_type or "")
    return None if seconds is None or workers is None or dpus is None else glue_dollars(seconds, dpus * workers)


def instance_dollars(instance_type: str, seconds: float) -> float | None:
    """A SageMaker instance for `seconds`; None for a type that the list lacks."""
    hourly = INSTANCE_HOUR.get(instance_type)
    return None if hourly is None else seconds / 3600 * hourly


def lambda_dollars(seconds: float, memory_mb: int, architecture: str = "arm64") -> float:
    """One invocation of `seconds` with `memory_mb`."""
    return seconds * memory_mb / 1024 * LAMBDA_GB_SECOND[architecture] + LAMBDA_REQUEST
