"""The dashboard of the operator: is it well, what does it do, and which deployments need a look."""

from functools import partial

from grafana_foundation_sdk.builders.dashboard import Dashboard

from monitoring.panels import FULL, board, choice, figure, lines, quantiles, rate, rows, section, timeline

OPERATOR = 'namespace=~"$operator"'
_rate = partial(rate, selector=OPERATOR)


def operator_board() -> Dashboard:
    """Return the dashboard."""
    built = board(
        "disagg-operator",
        "Disagg operator",
        "The Disagg Operator: whether it is well, what it does, and which deployments need a look.",
    )
    built = built.with_variable(
        choice("operator", "operator's namespace", "label_values(disagg_leader, namespace)")
        .multi(multi=True)
        .include_all(include_all=True)
    )
    for part in (_glance, _deployments, _reconciles, _cluster, _verification, _process):
        built = part(built)
    return built


def _glance(built: Dashboard) -> Dashboard:
    errors = f'sum(increase(disagg_reconciles_total{{{OPERATOR}, result="error"}}[$__range])) or vector(0)'
    return section(
        built,
        "At a glance",
        figure("Leaders", "Pods that lead: one of each installation.", f"sum(disagg_leader{{{OPERATOR}}})"),
        figure(
            "Deployments",
            "Deployments that were reconciled since the leader leads.",
            f"sum(disagg_deployments_checked{{{OPERATOR}}})",
        ),
        figure(
            "Not available",
            "Deployments whose condition Available is False, those scaled to zero among them.",
            'count(disagg_deployment_condition{condition="Available"} == 0) or vector(0)',
            bad=1,
        ),
        figure(
            "KV cache not as promised",
            "Deployments whose KV cache moves otherwise than their platform promises.",
            "count(disagg_transport_verified == 0) or vector(0)",
            bad=1,
        ),
        figure(
            "Failing",
            "Deployments whose last reconcile failed and is tried again.",
            f"sum(disagg_queue_failing{{{OPERATOR}}})",
            bad=1,
        ),
        figure("Unknown errors", "Reconciles that ended with a bug, in the time shown.", errors, bad=1),
    )


def _deployments(built: Dashboard) -> Dashboard:
    columns = {
        "namespace": "Namespace",
        "deployment": "Deployment",
        "condition": "Condition",
        "reason": "Reason",
        "Value": "Status",
    }
    lacking = (
        'disagg_deployment_instances{state="wanted"} '
        '- ignoring (state) disagg_deployment_instances{state="ready"} > 0'
    )
    return section(
        built,
        "Deployments",
        rows(
            "Conditions that do not hold",
            "Progressing is False where there is nothing to do, and is left out.",
            'disagg_deployment_condition{condition!="Progressing"} < 1',
            columns,
        ),
        timeline(
            "Available",
            "Condition Available of each deployment.",
            'max by (namespace, deployment) (disagg_deployment_condition{condition="Available"})',
            "{{namespace}}/{{deployment}}",
        ),
        lines(
            "Instances that are missing",
            "Wanted and not ready.",
            (lacking, "{{namespace}}/{{deployment}} {{role}}"),
        ),
        lines(
            "Instances that are ready",
            "Model instances by role, and pods of frontends.",
            (
                'sum by (role) (disagg_deployment_instances{state="ready"})',
                "{{role}}",
            ),
        ),
        lines(
            "Events",
            "Events about deployments, by reason.",
            (_rate("disagg_events_total", "reason") + " * 60", "{{reason}}"),
            unit="cpm",
        ),
    )


def _reconciles(built: Dashboard) -> Dashboard:
    return section(
        built,
        "Reconciles",
        lines(
            "Reconciles",
            "By result: blocked needs somebody to act, error is a bug.",
            (_rate("disagg_reconciles_total", "result"), "{{result}}"),
            unit="ops",
        ),
        lines(
            "Duration of a reconcile",
            "From taking a deployment up to its status being written.",
            *quantiles("disagg_reconcile_seconds", OPERATOR),
            unit="s",
        ),
        lines(
            "Wait in the queue",
            "From a change to its deployment being taken up.",
            *quantiles("disagg_queue_seconds", OPERATOR),
            unit="s",
        ),
        lines(
            "Queue",
            "Deployments that wait, that failed, and that are looked at later.",
            (f"sum(disagg_queue_depth{{{OPERATOR}}})", "waiting"),
            (f"sum(disagg_queue_failing{{{OPERATOR}}})", "failing"),
            (f"sum(disagg_queue_delayed{{{OPERATOR}}})", "later"),
            width=FULL,
        ),
    )


def _cluster(built: Dashboard) -> Dashboard:
    return section(
        built,
        "API server",
        lines(
            "Requests by code",
            "Code 0 means no answer.",
            (_rate("disagg_api_requests_total", "code"), "{{code}}"),
            unit="reqps",
        ),
        lines(
            "Writes by kind",
            "In a steady state nothing is written.",
            (
                _rate(
                    "disagg_api_requests_total",
                    "verb, kind",
                    selector=f'{OPERATOR}, verb=~"create|patch|update|delete"',
                ),
                "{{verb}} {{kind}}",
            ),
            unit="reqps",
        ),
        lines(
            "Watches started anew",
            "API servers close each watch after some minutes.",
            (_rate("disagg_watch_restarts_total", "reason"), "{{reason}}"),
            unit="ops",
        ),
    )


def _verification(built: Dashboard) -> Dashboard:
    return section(
        built,
        "Verification",
        lines(
            "Measurements",
            "How KV cache moves, by verdict.",
            (
                _rate("disagg_kv_transport_verifications_total", "verified, reason") + " * 60",
                "{{verified}} {{reason}}",
            ),
            unit="cpm",
        ),
        lines(
            "Time to the answer of a canary",
            "It grows with the load of the deployment.",
            *quantiles("disagg_kv_transport_canary_seconds", OPERATOR),
            unit="s",
        ),
        lines(
            "KV cache of canaries",
            "By what carried it.",
            (_rate("disagg_kv_transport_canary_bytes_total", "transport"), "{{transport}}"),
            unit="Bps",
        ),
    )


def _process(built: Dashboard) -> Dashboard:
    leading = f"and on (namespace, pod) disagg_leader{{{OPERATOR}}}"
    return section(
        built,
        "Process",
        lines(
            "Memory",
            "Resident memory of each pod.",
            (f"process_resident_memory_bytes{{{OPERATOR}}} {leading}", "{{pod}}"),
            unit="bytes",
        ),
        lines(
            "CPU",
            "Cores that each pod uses.",
            (f"rate(process_cpu_seconds_total{{{OPERATOR}}}[$__rate_interval]) {leading}", "{{pod}}"),
        ),
        lines(
            "Lag of the event loop",
            "What keeps the process from looking at what is next.",
            (f"disagg_loop_lag_seconds{{{OPERATOR}}}", "{{pod}}"),
            unit="s",
        ),
        lines(
            "Objects in memory",
            "Objects of deployments, by kind.",
            (f"sum by (kind) (disagg_cached_objects{{{OPERATOR}}})", "{{kind}}"),
            width=FULL,
        ),
    )
