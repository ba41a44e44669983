"""The dashboard of one deployment: what its users see, how KV cache moves, and what router and workers do.

Engines other than the reference engine have metrics of their own. What is shown of KV transfer by devices
comes from the transport agents, which are beside engines of any make.
"""

from functools import partial

from grafana_foundation_sdk.builders.dashboard import Dashboard

from monitoring.panels import board, choice, figure, lines, quantiles, rate, section, totals, truth

STATUS = 'namespace="$namespace", deployment="$deployment"'
PODS = 'namespace="$namespace", disagg_dev_deployment="$deployment"'
TOKENS = "suffix:tokens/s"
"""A unit of our own: Grafana's `wps` are writes."""
_rate = partial(rate, selector=PODS)


def serving_board() -> Dashboard:
    """Return the dashboard."""
    built = board(
        "disagg-serving",
        "Disagg serving",
        "A DisaggDeployment: what its users see, how KV cache moves, and what its router and workers do.",
    )
    built = built.with_variable(
        choice("namespace", "namespace", "label_values(disagg_deployment_condition, namespace)")
    ).with_variable(
        choice(
            "deployment",
            "deployment",
            'label_values(disagg_deployment_condition{namespace="$namespace"}, deployment)',
        )
    )
    for part in (_glance, _requests, _transfer, _router, _workers):
        built = part(built)
    return built


def _glance(built: Dashboard) -> Dashboard:
    first = "dynamo_frontend_time_to_first_token_seconds"
    between = "dynamo_frontend_inter_token_latency_seconds"
    return section(
        built,
        "At a glance",
        truth(
            "Available",
            "Condition Available, with its reason.",
            f'disagg_deployment_condition{{{STATUS}, condition="Available"}}',
            "{{reason}}",
        ),
        truth(
            "KV cache as promised",
            "Whether KV cache moves as the platform promises, and over what.",
            f"disagg_transport_verified{{{STATUS}}}",
            "{{transport}}: {{reason}}",
        ),
        figure(
            "Requests",
            "Requests that end in a second.",
            f"sum(rate(dynamo_frontend_requests_total{{{PODS}}}[$__rate_interval]))",
            unit="reqps",
        ),
        figure("TTFT, p50", "Time to first token.", quantiles(first, PODS)[0][0], unit="s"),
        figure("ITL, p50", "Time between tokens.", quantiles(between, PODS)[0][0], unit="s"),
        figure(
            "KV cache read",
            "Bytes that decode reads in a second (reference engine).",
            f"sum(rate(disagg_kv_read_bytes_total{{{PODS}}}[$__rate_interval]))",
            unit="Bps",
        ),
    )


def _requests(built: Dashboard) -> Dashboard:
    return section(
        built,
        "Requests, by Dynamo's frontend",
        lines(
            "Time to first token (TTFT)",
            "Prefill, transfer of KV cache, and waiting for both.",
            *quantiles("dynamo_frontend_time_to_first_token_seconds", PODS),
            unit="s",
        ),
        lines(
            "Time between tokens (ITL)",
            "Decode, and how many requests it computes at once.",
            *quantiles("dynamo_frontend_inter_token_latency_seconds", PODS),
            unit="s",
        ),
        lines(
            "Duration of requests",
            "From the request to the end of its answer.",
            *quantiles("dynamo_frontend_request_duration_seconds", PODS),
            unit="s",
        ),
        lines(
            "Requests",
            "That ended, by how.",
            (_rate("dynamo_frontend_requests_total", "status, error_type"), "{{status}} {{error_type}}"),
            unit="reqps",
        ),
        lines(
            "Requests under way",
            "Answered now, and those among them whose first token is awaited.",
            (f"sum(dynamo_frontend_inflight_requests{{{PODS}}})", "in flight"),
            (f"sum(dynamo_frontend_queued_requests{{{PODS}}})", "first token awaited"),
        ),
        lines(
            "Tokens",
            "Of prompts and of answers.",
            (
                f"sum(rate(dynamo_frontend_input_sequence_tokens_sum{{{PODS}}}[$__rate_interval]))",
                "prompts",
            ),
            (f"sum(rate(dynamo_frontend_output_tokens_total{{{PODS}}}[$__rate_interval]))", "answers"),
            unit=TOKENS,
        ),
    )


def _transfer(built: Dashboard) -> Dashboard:
    return section(
        built,
        "Transfer of KV cache",
        lines(
            "Rate by transport (reference engine)",
            "KV cache that decode reads, by NIXL's backend and what carried it.",
            (_rate("disagg_kv_read_bytes_total", "backend, transport"), "{{backend}} {{transport}}"),
            unit="Bps",
        ),
        totals(
            "Bytes by transport (reference engine)",
            "KV cache that decode read in the time shown.",
            f"sum by (backend, transport) (increase(disagg_kv_read_bytes_total{{{PODS}}}[$__range]))",
            "{{backend}} {{transport}}",
            unit="bytes",
        ),
        lines(
            "Time of a read (reference engine)",
            "From asking for a prompt's KV cache to having it.",
            *quantiles("disagg_kv_read_seconds", PODS),
            unit="s",
        ),
        lines(
            "RDMA devices",
            "All bytes of EFA, InfiniBand and RoCE devices of the pods.",
            (
                _rate("disagg_kv_transport_device_bytes_total", "disagg_dev_role, direction"),
                "{{disagg_dev_role}} {{direction}}",
            ),
            unit="Bps",
        ),
        lines(
            "NVLink",
            "All data bytes of the pods' GPUs.",
            (
                _rate("disagg_kv_transport_nvlink_bytes_total", "disagg_dev_role, direction"),
                "{{disagg_dev_role}} {{direction}}",
            ),
            unit="Bps",
        ),
        lines(
            "Network interfaces (TCP)",
            "KV cache that moves here moves slowly.",
            (
                _rate("disagg_kv_transport_interface_bytes_total", "interface, disagg_dev_role, direction"),
                "{{interface}} {{disagg_dev_role}} {{direction}}",
            ),
            unit="Bps",
        ),
        lines(
            "Reads (reference engine)",
            "By how they ended.",
            (_rate("disagg_kv_reads_total", "outcome"), "{{outcome}}"),
            unit="ops",
        ),
        lines(
            "Prompts without a transfer (reference engine)",
            "Computed by decode: a read failed, or prefill or the frontend left them to it.",
            (_rate("disagg_prompts_recomputed_total", "outcome"), "read failed: {{outcome}}"),
            (_rate("disagg_prompts_local_total", "left_by"), "left by {{left_by}}"),
            unit="ops",
        ),
        lines(
            "Errors of devices",
            "Counters of RDMA devices that mean trouble.",
            (
                _rate("disagg_kv_transport_device_errors_total", "device, counter"),
                "{{device}} {{counter}}",
            ),
            unit="ops",
        ),
    )


def _router(built: Dashboard) -> Dashboard:
    cached = _rate("dynamo_component_router_kv_selected_cached_prefix_tokens_total", "phase")
    asked = _rate("dynamo_component_router_input_sequence_tokens_sum", "phase")
    return section(
        built,
        "Router, in Dynamo's frontend",
        lines(
            "Prompts that the chosen workers had",
            "Share of their tokens whose KV cache was there, by what a KvAware router knows.",
            (f"{cached} / {asked}", "{{phase}}"),
            unit="percentunit",
        ),
        lines(
            "Requests to workers",
            "Prefill and decode of a request count apart.",
            (
                f"sum(rate(dynamo_component_router_requests_total{{{PODS}}}[$__rate_interval]))",
                "requests",
            ),
            unit="reqps",
        ),
        lines(
            "Workers that the router knows",
            "The most that a frontend knows.",
            (
                "max by (worker_type) (sum by (pod, worker_type) "
                f"(dynamo_component_router_worker_registered{{{PODS}}}))",
                "{{worker_type}}",
            ),
        ),
    )


def _workers(built: Dashboard) -> Dashboard:
    return section(
        built,
        "Workers",
        lines(
            "Instances",
            "Wanted and ready, by role.",
            (f"disagg_deployment_instances{{{STATUS}}}", "{{role}} {{state}}"),
        ),
        lines(
            "KV blocks in use (reference engine)",
            "Share of each worker's blocks; requests wait where it is full.",
            (
                f'1 - sum by (pod) (disagg_kv_blocks{{{PODS}, state="free"}})'
                f" / sum by (pod) (disagg_kv_blocks{{{PODS}}})",
                "{{pod}}",
            ),
            unit="percentunit",
        ),
        lines(
            "Sequences (reference engine)",
            "Computed now, and waiting for blocks or a place.",
            (
                f"sum by (disagg_dev_role) (disagg_sequences_running{{{PODS}}})",
                "{{disagg_dev_role}} running",
            ),
            (
                f"sum by (disagg_dev_role) (disagg_sequences_waiting{{{PODS}}})",
                "{{disagg_dev_role}} waiting",
            ),
        ),
        lines(
            "Prompt tokens (reference engine)",
            "Computed, and found in KV blocks.",
            (_rate("disagg_prompt_tokens_total", "disagg_dev_role"), "{{disagg_dev_role}} computed"),
            (_rate("disagg_prompt_tokens_reused_total", "disagg_dev_role"), "{{disagg_dev_role}} reused"),
            unit=TOKENS,
        ),
        lines(
            "Time of a step (reference engine)",
            "One step computes all sequences that run.",
            *quantiles("disagg_step_seconds", PODS, "disagg_dev_role"),
            unit="s",
        ),
        lines(
            "Requests of workers (reference engine)",
            "By role and how they ended.",
            (_rate("disagg_requests_total", "role, outcome"), "{{role}} {{outcome}}"),
            unit="reqps",
        ),
    )
