"""An engine for Glue jobs: definitions, and runs of their scripts as processes. It knows no cloud but `Host`."""

from local.glue.engine import GlueEngine
from local.glue.errors import GlueError

__all__ = ["GlueEngine", "GlueError"]
