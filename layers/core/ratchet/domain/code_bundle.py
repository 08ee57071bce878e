"""The code of a definition."""

from ratchet.contracts.base import Contract


class CodeBundle(Contract):
    """The content-addressed code a definition runs with, all in the artifacts bucket."""

    model_uri: str  # tar.gz of jobs/model: SageMaker's submit directory
    model_sha256: str
    preprocess_uri: str  # the Glue script
    preprocess_sha256: str
    wheel_uri: str  # narwhals, for the Glue script
    wheel_sha256: str
