"""All rules as a document, made from the rules themselves."""

from disagg_operator.plan.rules import every_rule

_HEAD = """# What is refused and what is warned about

Made from the code by `make crds`. The operator, `kubectl disagg lint` and the webhook judge by these rules.
What is refused is not applied, and what runs stays as it is. What is doubtful is applied, and told in the
condition `Accepted`. A rule that can be overridden is, for one deployment, by naming it in
`spec.security.allowUnsafe`.

| rule | severity | can be overridden | learnt from |
|---|---|---|---|
"""


def document() -> str:
    """Return the Markdown text of docs/rules.md."""
    rows = [
        f"| `{rule.id}` | {rule.severity} | {'yes' if rule.unsafe else ''} | {rule.source} |"
        for rule in sorted(every_rule(), key=lambda rule: rule.id)
    ]
    return _HEAD + "\n".join(rows) + "\n"
