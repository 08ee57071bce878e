"""How a request to Glue is refused."""


class GlueError(Exception):
    """A refusal with the code, message and HTTP status that the service would answer."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
