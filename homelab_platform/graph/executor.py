"""How a run works through its steps: in its own process, as a Raspberry Pi has to carry it.

Belongs here: the one difference to Dagster's own executor. Dagster (1.13) cannot run a partitioned asset after another
one in a run without partitions: the step fails before our code is asked. Marts that read marts are such assets, and
people do start `apply` or `marts` without choosing days. Such a run gets a nominal day (marts.nominal) before its first
step. This uses parts of Dagster that are not public; homelab_platform_tests/graph/test_executor.py notices when they
change.
"""

from collections.abc import Iterator, Mapping

import dagster as dg
from dagster import DagsterEvent, Executor, InitExecutorContext
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.in_process import InProcessExecutor

from homelab_platform.graph.marts import nominal
from homelab_platform.graph.tags import PARTITION, RANGE_START
from homelab_platform.graph.work import days_of_run

NAME = "in_this_process"


class NominalDayExecutor(InProcessExecutor):
    """Dagster's own executor in one process, for runs of a lab whose marts have days."""

    def __init__(self, lab: str) -> None:
        super().__init__(RetryMode.ENABLED)
        self._lab = lab

    def execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Iterator[DagsterEvent]:
        """Execute the steps, after the run was given a day if it needs one."""
        day = {} if has_partition(plan_context.dagster_run.tags) else self._nominal(plan_context)
        return super().execute(_with_tags(plan_context, day) if day else plan_context, execution_plan)

    def _nominal(self, context: PlanOrchestrationContext) -> dict[str, str]:
        layer = context.job.get_definition().asset_layer
        if not any(layer.get(key).is_partitioned for key in layer.selected_asset_keys):
            return {}
        return nominal(self._lab, days_of_run(context.dagster_run))


def has_partition(tags: Mapping[str, str]) -> bool:
    """Whether a run was started for some partitions."""
    return PARTITION in tags or RANGE_START in tags


def _with_tags(context: PlanOrchestrationContext, tags: Mapping[str, str]) -> PlanOrchestrationContext:
    run = context.dagster_run
    context.instance.add_run_tags(run.run_id, tags)
    return PlanOrchestrationContext(
        plan_data=context.plan_data._replace(dagster_run=run.with_tags({**run.tags, **tags})),
        log_manager=context.log,
        executor=context.executor,
        output_capture=context.output_capture,
        resume_from_failure=context.resume_from_failure,
    )


def lab_executor(lab: str) -> dg.ExecutorDefinition:
    """The executor of a lab's jobs."""

    @dg.executor(name=NAME)
    def in_this_process(_context: InitExecutorContext) -> Executor:
        return NominalDayExecutor(lab)

    return in_this_process
