"""How a request to Glue is refused."""

from local.errors import ServiceError


class GlueError(ServiceError):
    """An error answer of the Glue API."""
