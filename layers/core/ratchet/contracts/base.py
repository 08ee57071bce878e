"""The one way contracts behave: frozen, closed, parsed once at the edge.

They are built when first used: a function uses a few of the hundred models it imports, and each costs its cold start
a millisecond.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Contract(BaseModel):
    """A message between parts of the system: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), defer_build=True)


class ForeignContract(BaseModel):
    """A message AWS writes: immutable, and fields we do not read are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, defer_build=True)


PipelineName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,23}$")]
BucketName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
S3Uri = Annotated[str, Field(pattern=r"^s3://[^/]+/.+")]


class Finding(Contract):
    """Why something was rejected, refused or failed: four answers, never empty."""

    what: Annotated[str, Field(min_length=1)]
    where: Annotated[str, Field(min_length=1)]
    why: Annotated[str, Field(min_length=1)]
    fix: Annotated[str, Field(min_length=1)]
