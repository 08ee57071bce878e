"""The public definition of the Glue API."""

from local.glue.errors import GlueError
from local.validation import Api

GLUE = Api("glue", GlueError)
