"""All rules as a document, made from the rules themselves."""

import re
from typing import Any
from urllib.parse import urlsplit

from disagg_operator.api.admission.rule import Rule
from disagg_operator.plan.rules import every_rule
from disagg_operator.plan.rules.messages import fault

_HEAD = """# What is refused and what is warned about

Made from the code by `make crds`. The operator, `kubectl disagg lint` and the webhook judge by these rules.
What is refused is not applied, and what runs stays as it is. What is doubtful is applied, and told in the
condition `Accepted`. A rule marked * is overridden for one deployment by naming it in
`spec.security.allowUnsafe`.

"What is wrong" is the message that follows the field it is about, the first where a rule has several; …
stands for what is written there. Where a message is little but values, its meaning stands here instead.

| rule | severity | what is wrong | learnt from |
|---|---|---|---|
"""


def said(rule: Rule[Any]) -> str:
    """Return what a rule says, as Markdown of a cell."""
    text = rule.says or fault(rule.find)
    return re.sub(r"([|*_<>\[\]])", r"\\\1", text)


def learnt_from(source: str) -> str:
    """Return a source as Markdown: an address or a page of ours becomes a short link, the rest stays."""
    address, colon, rest = source.partition(": ")
    parts = urlsplit(address)
    if not parts.scheme or not parts.netloc:
        return re.sub(r"docs/([a-z-]+\.md)", r"[\1](\1)", source)
    *folders, last = [each for each in parts.path.split("/") if each] or [""]
    if parts.netloc == "github.com":
        repository = "/".join([*folders, last][:2])
        numbered = folders[-1:] in (["issues"], ["pull"])
        words = f"{repository} #{last}" if numbered else f"{repository} {last}" if folders[1:] else repository
    else:
        words = f"{parts.netloc} {parts.fragment or last}".strip()
    return f"[{words}]({address}){colon}{rest}"


def document() -> str:
    """Return the Markdown text of docs/rules.md."""
    rows = [
        f"| `{rule.id}` | {rule.severity}{' *' if rule.unsafe else ''} | {said(rule)} "
        f"| {learnt_from(rule.source)} |"
        for rule in sorted(every_rule(), key=lambda rule: rule.id)
    ]
    return _HEAD + "\n".join(rows) + "\n"
