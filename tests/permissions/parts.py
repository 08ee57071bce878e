"""What the template grants, in the smallest parts that can be taken away: actions, resources and managed policies."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from tests.template.reading import as_list, deployed, resources

Statement = dict[str, Any]
Kind = Literal["Action", "Resource", "ManagedPolicy"]
_LAYER = re.compile(r"(?<=Layer)[0-9a-f]{10}$")  # SAM names a layer's version by a hash of its properties


@dataclass(frozen=True)
class Part:
    """One action or one resource of a statement of a role's policies, or one managed policy."""

    role: str  # its logical id
    statement: str  # its Sid, or the name of the policy that SAM wrote without one
    kind: Kind
    position: int
    text: str

    def __str__(self) -> str:
        return f"{self.role} / {self.statement} / {self.text}"


@dataclass(frozen=True)
class Granted:
    """A statement of a role's policies as the template has it."""

    role: str
    name: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: str

    @property
    def parts(self) -> Iterator[Part]:
        """Its actions, and its resources where there are several: the last one cannot go without the statement."""
        for position, action in enumerate(self.actions):
            yield Part(self.role, self.name, "Action", position, action)
        if len(self.resources) > 1:
            for position, resource in enumerate(self.resources):
                yield Part(self.role, self.name, "Resource", position, resource)


def granted() -> Iterator[Granted]:
    """Every statement of every role, those that SAM adds included."""
    for role, properties in resources("AWS::IAM::Role", deployed()).items():
        for policy in properties.get("Policies", ()):
            for statement in policy["PolicyDocument"]["Statement"]:
                yield Granted(
                    role,
                    name_of(statement, policy["PolicyName"]),
                    tuple(as_list(statement["Action"])),
                    tuple(text_of(resource) for resource in as_list(statement["Resource"])),
                    _conditions(statement.get("Condition", {})),
                )


def managed() -> Iterator[Part]:
    """Every managed policy of every role."""
    for role, properties in resources("AWS::IAM::Role", deployed()).items():
        for position, arn in enumerate(properties.get("ManagedPolicyArns", ())):
            name = text_of(arn)
            yield Part(role, name.rsplit("/", 1)[-1], "ManagedPolicy", position, name)


def every_part() -> list[Part]:
    """All that can be taken away."""
    return [part for statement in granted() for part in statement.parts] + list(managed())


def name_of(statement: Statement, policy: str) -> str:
    """What a statement is called here."""
    return str(statement.get("Sid") or policy)


def text_of(value: Any) -> str:
    """A value of the template on one line, with references as `Fn::Sub` would write them."""
    match value:
        case str():
            return re.sub(r"arn:(aws|\$\{AWS::Partition\}):", "arn:aws:", value).replace(
                "${AWS::Region}:${AWS::AccountId}", "…"
            )
        case {"Ref": name}:
            return f"${{{_LAYER.sub('', name)}}}"
        case {"Fn::GetAtt": path}:
            return f"${{{'.'.join(as_list(path))}}}"
        case {"Fn::Sub": [text, _]} | {"Fn::Sub": text}:
            return text_of(text)
        case {"Fn::If": [condition, yes, no]}:
            return f"{text_of(yes)} if {condition}, else {text_of(no)}"
    raise ValueError(f"No way is known to write {value!r} on one line: add it to text_of.")


def _conditions(condition: Statement) -> str:
    return "; ".join(
        f"{key} {operator} {' or '.join(text_of(value) for value in as_list(values))}"
        for operator, tests in condition.items()
        for key, values in tests.items()
    )
