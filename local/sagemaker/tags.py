"""Tags of any resource, by its ARN."""

from local.host import Scope
from local.sagemaker.context import Context
from local.sagemaker.errors import SageMakerError, invalid
from local.sagemaker.store import Record

MOST_TAGS = 50


class Tags:
    """AddTags, ListTags, DeleteTags."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.actions = {"AddTags": self.add, "ListTags": self.list_page, "DeleteTags": self.delete}

    def add(self, _scope: Scope, request: Record) -> Record:
        """New tags, and new values of old ones."""
        arn = self._existing(request)
        with self._ctx.store.locked():
            tags = {**self._ctx.store.tags(arn), **{tag["Key"]: tag["Value"] for tag in request["Tags"]}}
            if len(tags) > MOST_TAGS:
                raise SageMakerError("ResourceLimitExceeded", f"A resource can have at most {MOST_TAGS} tags.")
            self._ctx.store.set_tags(arn, tags)
        return {"Tags": _listed(tags)}

    def list_page(self, _scope: Scope, request: Record) -> Record:
        """All tags: no resource has more than one page of them."""
        return {"Tags": _listed(self._ctx.store.tags(self._existing(request)))}

    def delete(self, _scope: Scope, request: Record) -> Record:
        """Keys that are not there are no error."""
        arn = self._existing(request)
        with self._ctx.store.locked():
            tags = self._ctx.store.tags(arn)
            self._ctx.store.set_tags(arn, {key: value for key, value in tags.items() if key not in request["TagKeys"]})
        return {}

    def _existing(self, request: Record) -> str:
        arn: str = request["ResourceArn"]
        if not self._ctx.store.has_arn(arn):
            raise invalid(f"Could not find resource {arn}.")
        return arn


def _listed(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
