"""Endpoints: create, update without a failed request, roll back, delete."""

import itertools
import time

from botocore.exceptions import BotoCoreError, ClientError

from local.host import Scope
from local.sagemaker.context import Context
from local.sagemaker.deployment import Deployment, RolledBackError, launching, terminating
from local.sagemaker.endpoint_configs import EndpointConfigs
from local.sagemaker.endpoint_records import PENDING, EndpointRecords
from local.sagemaker.errors import SageMakerError, invalid
from local.sagemaker.fleet import Fleet
from local.sagemaker.hosting import HostingError, NotReachableError
from local.sagemaker.jobs import folder, internal, reason
from local.sagemaker.listing import page, summary
from local.sagemaker.plans import FleetPlan, VariantPlan, rescaled
from local.sagemaker.rollout import Rollout, rollout
from local.sagemaker.store import ENDPOINT, Record
from local.sagemaker.traffic import Traffic

_RESTORE_ATTEMPTS = 30
_RESTORE_INTERVAL = 0.5
_LAST = "LastDeploymentConfig"


class Endpoints:
    """CreateEndpoint and what belongs to it."""

    def __init__(self, ctx: Context, configs: EndpointConfigs, traffic: Traffic) -> None:
        self._ctx = ctx
        self._configs = configs
        self._traffic = traffic
        self._records = EndpointRecords(ctx)
        self._generation = itertools.count()
        self.actions = {
            "CreateEndpoint": self.create,
            "DescribeEndpoint": self.describe,
            "ListEndpoints": self.list_page,
            "UpdateEndpoint": self.update,
            "UpdateEndpointWeightsAndCapacities": self.rescale,
            "DeleteEndpoint": self.delete,
        }

    def create(self, scope: Scope, request: Record) -> Record:
        """Creating, then InService or Failed."""
        name, config, now = request["EndpointName"], request["EndpointConfigName"], time.time()
        plan = self._configs.plan(scope, config)
        record = {
            "EndpointName": name,
            "EndpointConfigName": config,
            "EndpointStatus": "Creating",
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        if deployment := request.get("DeploymentConfig"):
            rollout(deployment, plan.variants, plan.variants)
            record[_LAST] = deployment
        arn = self._ctx.store.add(scope, ENDPOINT, name, record, request.get("Tags"))
        self._records.announce(scope, name)
        self._ctx.run(self._create, scope, name, plan)
        return {"EndpointArn": arn}

    def describe(self, scope: Scope, request: Record) -> Record:
        """The whole record."""
        return self._ctx.store.get(scope, ENDPOINT, request["EndpointName"])

    def list_page(self, scope: Scope, request: Record) -> Record:
        """Summaries, a page at a time."""
        records = self._ctx.store.all(scope, ENDPOINT)
        found, more = page(records, request, name="EndpointName", status="EndpointStatus")
        fields = ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus")
        return {"Endpoints": [summary(record, *fields) for record in found], **more}

    def update(self, scope: Scope, request: Record) -> Record:
        """Updating, then InService on the new configuration, or rolled back and InService on the old one."""
        name = request["EndpointName"]
        with self._ctx.store.locked():
            record = self._records.updatable(scope, name)
            plan = self._configs.plan(scope, request["EndpointConfigName"])
            serving = self._traffic.serving((scope, name.lower()))
            before = serving.plan if serving else plan
            if request.get("RetainAllVariantProperties"):
                plan = plan.retaining(before, request.get("ExcludeRetainedVariantProperties", []))
            deployment = request.get("DeploymentConfig", {})
            if request.get("RetainDeploymentConfig"):
                deployment = record.get(_LAST, {})
            steps = rollout(deployment, before.variants, plan.variants)
            self._records.move(scope, name, "Updating", **_pending(plan), **({_LAST: deployment} if deployment else {}))
        self._records.announce(scope, name)
        self._ctx.run(self._update, scope, name, plan, steps)
        return {"EndpointArn": record["EndpointArn"]}

    def rescale(self, scope: Scope, request: Record) -> Record:
        """Updating, then InService with other weights and instance counts of the same variants."""
        name = request["EndpointName"]
        with self._ctx.store.locked():
            record = self._records.updatable(scope, name)
            fleet = self._traffic.serving((scope, name.lower()))
            if fleet is None:
                raise invalid(f'Cannot update endpoint "{record["EndpointArn"]}": nothing serves.')
            plans = rescaled(fleet.plan, request["DesiredWeightsAndCapacities"])
            desired = {plan.name: plan.summary(time.time()) for plan in plans}
            shown = [_desired(variant, desired[variant["VariantName"]]) for variant in record["ProductionVariants"]]
            self._records.move(scope, name, "Updating", ProductionVariants=shown)
        self._records.announce(scope, name)
        self._ctx.run(self._rescale, scope, name, fleet, plans)
        return {"EndpointArn": record["EndpointArn"]}

    def delete(self, scope: Scope, request: Record) -> Record:
        """Takes no new request, answers those under way, and is gone."""
        name = request["EndpointName"]
        with self._ctx.store.locked():
            self._records.settled(scope, name)
            self._records.move(scope, name, "Deleting")
        self._records.announce(scope, name)
        self._ctx.run(self._delete, scope, name, self._traffic.end((scope, name.lower())))
        return {}

    def restore(self) -> None:
        """After a restart: whatever served or was on its way to serve is started again."""
        for scope, record in self._ctx.store.everywhere(ENDPOINT):
            if record["EndpointStatus"] == "Deleting":
                self._ctx.store.remove(scope, ENDPOINT, record["EndpointName"])
            elif record["EndpointStatus"] != "Failed":
                self._ctx.run(self._restore, scope, record)

    def close(self) -> None:
        """Ends all containers at once."""
        for fleet in self._traffic.end_all():
            fleet.close()

    def _create(self, scope: Scope, name: str, plan: FleetPlan) -> None:
        try:
            fleet = self._started(scope, name, plan)
        except HostingError as error:
            self._records.settle(scope, name, "Failed", FailureReason=reason(str(error)))
        else:
            self._traffic.serve((scope, name.lower()), fleet)
            self._records.serve(scope, name, plan)

    def _update(self, scope: Scope, name: str, plan: FleetPlan, steps: Rollout) -> None:
        began = time.monotonic()
        self._records.deploying(scope, name, launching(plan.variants))
        try:
            fleet = self._started(scope, name, plan)
        except HostingError as error:
            self._roll_back(scope, name, str(error))
            return
        key = scope, name.lower()
        deployment = Deployment(
            self._ctx, self._traffic, key, fleet, lambda variants: self._records.deploying(scope, name, variants)
        )
        try:
            if not deployment.run(steps, time.monotonic() - began):
                fleet.close()
                return
        except RolledBackError as objection:
            self._traffic.shift_back(key)
            self._roll_back(scope, name, str(objection), fleet)
            return
        old = self._traffic.serve(key, fleet)
        self._records.serve(scope, name, plan, forget=True)
        if old:
            old.drain()

    def _rescale(self, scope: Scope, name: str, fleet: Fleet, plans: list[VariantPlan]) -> None:
        try:
            fleet.adopt(plans)
        except HostingError as error:
            self._records.settle(scope, name, "RollingBack", FailureReason=reason(str(error)))
            self._records.serve(scope, name, fleet.plan)
        else:
            self._records.serve(scope, name, fleet.plan, forget=True)

    def _roll_back(self, scope: Scope, name: str, why: str, fleet: Fleet | None = None) -> None:
        """The old fleet serves alone again; the new one ends when its last request is answered."""
        self._records.settle(scope, name, "RollingBack", FailureReason=reason(why))
        if fleet:
            self._records.deploying(scope, name, terminating(fleet.plan.variants))
            fleet.drain()
        self._records.settle(scope, name, "InService", drop=(PENDING,))

    def _delete(self, scope: Scope, name: str, fleet: Fleet | None) -> None:
        if fleet:
            fleet.drain()
        self._ctx.store.remove(scope, ENDPOINT, name)

    def _restore(self, scope: Scope, record: Record) -> None:
        name, status = record["EndpointName"], record["EndpointStatus"]
        if status == "InService":
            self._records.move(scope, name, "SystemUpdating")
        try:
            plan = self._configs.plan(scope, record["EndpointConfigName"])
            plan = plan.with_properties(record.get("ProductionVariants", []))
            fleet = self._started_when_ready(scope, name, plan)
        except (HostingError, SageMakerError) as error:
            why = error.message if isinstance(error, SageMakerError) else str(error)
            self._records.settle(scope, name, "Failed", drop=(PENDING,), FailureReason=reason(why))
            return
        self._traffic.serve((scope, name.lower()), fleet)
        if status == "Updating" and PENDING in record:
            self._restore_update(scope, name, record, plan)
            return
        # Nothing has changed for anyone outside, unless the endpoint was on its way here.
        self._records.serve(scope, name, plan, quietly=status in ("InService", "SystemUpdating"))

    def _restore_update(self, scope: Scope, name: str, record: Record, old: FleetPlan) -> None:
        """An update that was under way begins anew, guarded as the endpoint's last one was."""
        pending = record[PENDING]
        try:
            plan = self._configs.plan(scope, pending["EndpointConfigName"])
            plan = plan.with_properties(pending.get("ProductionVariants", []))
            steps = rollout(record.get(_LAST, {}), old.variants, plan.variants)
        except SageMakerError as error:
            self._roll_back(scope, name, error.message)
        else:
            self._update(scope, name, plan, steps)

    def _started_when_ready(self, scope: Scope, name: str, plan: FleetPlan) -> Fleet:
        """The cloud around the engine may come up after it: its S3 is asked again until it answers."""
        for _ in range(_RESTORE_ATTEMPTS):
            try:
                return self._started(scope, name, plan)
            except NotReachableError:
                if self._ctx.closed.wait(_RESTORE_INTERVAL):
                    raise
        return self._started(scope, name, plan)

    def _started(self, scope: Scope, name: str, plan: FleetPlan) -> Fleet:
        base = folder(self._ctx, scope, ENDPOINT, name) / str(next(self._generation))
        fleet = Fleet(self._ctx, scope, name, plan, base)
        try:
            fleet.start()
        except HostingError:
            raise
        except (ClientError, BotoCoreError, OSError) as error:
            raise NotReachableError(f"The execution role could not be used: {error}") from error
        except Exception as error:
            raise HostingError(internal(error, name)) from error
        return fleet


def _pending(plan: FleetPlan) -> Record:
    shown = plan.summary()
    variants = {name: shown[name] for name in ("ProductionVariants", "ShadowProductionVariants") if shown[name]}
    return {PENDING: {"EndpointConfigName": plan.config, "StartTime": time.time(), **variants}}


def _desired(shown: Record, wanted: Record) -> Record:
    return {**shown, **{field: value for field, value in wanted.items() if field.startswith("Desired")}}
