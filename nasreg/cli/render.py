"""The text in which results are printed for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nasreg.cli.output import Output
from nasreg.registry.discovery import SLOW
from nasreg.registry.records import KINDS, PluginRecord
from nasreg.specs.formatting import format_bytes, format_count, format_duration, option_text, plural, shorten

if TYPE_CHECKING:
    from nasreg.networks.block_profile import BlockProfile
    from nasreg.networks.costs import SpaceProfile
    from nasreg.networks.profile import MeanCost, NetworkProfile

_PRESET_PARTS = ("space", "seed", "mutator", "trainer", "evaluator", "spaces", "dataset")


def _requirements(described: dict[str, Any]) -> list[str]:
    """Return what an algorithm requires of a space: kinds of choices and capabilities."""
    choices = (f"a choice of the kind {kind}" for kind in described.get("requires_choices", ()))
    return [*choices, *described.get("requires", ())]


def description(output: Output, kind: str, described: dict[str, Any]) -> None:
    """Print what ``Registry.describe`` returns of one kind."""
    facts = [
        (label, str(text))
        for label, text in (
            ("summary", described["summary"]),
            ("paper", described.get("paper")),
            ("cost", described.get("cost")),
            ("family", described.get("family")),
            ("handles", ", ".join(described.get("primitives", ()))),
            ("requires", ", ".join(_requirements(described))),
            ("splits", ", ".join(described.get("splits", ()))),
            ("networks", None if described.get("network", True) else "none: architectures are only looked up"),
            ("provides", ", ".join(described.get("capabilities", ()))),
            ("needs", ", ".join(described.get("needs", ()))),
            ("spaces", ", ".join(described.get("spaces", ())) if kind == "evaluator" else None),
            ("default space", described.get("default_space")),
            ("default evaluator", described.get("default_evaluator")),
            ("space", described.get("space")),
            ("genotype", described.get("genotype")),
            ("default preset", described.get("default_preset")),
            ("from", " ".join(filter(None, [described["distribution"], described["version"]])) or "this process"),
            ("plugin", described["plugin_summary"]),
            ("homepage", described["homepage"]),
        )
        if text
    ]
    output.table(f"{kind} {described['name']}", facts)
    for name, preset in described.get("presets", {}).items():
        options = [(part, preset[part]) for part in _PRESET_PARTS if preset[part] not in (None, {})]
        lines = [row for part, value in options for row in _settings(part, value)]
        output.table(f"preset {name}: {preset['summary']}", lines or [("(defaults)", "")])
    if kind == "recipe":
        values = {part: described[part] for part in _PRESET_PARTS if described.get(part) not in (None, {})}
        lines = [row for part, value in values.items() for row in _settings(part, value)]
        output.table("settings", lines or [("(defaults)", "")])
    if "options" in described:
        _options(output, kind, described["options"])
    elif "mutator" in described:
        _options(output, "mutator", described["mutator"]["options"])
        _options(output, "trainer", described["trainer"]["options"])


def _settings(path: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict) and value:
        return [row for key, inner in value.items() for row in _settings(f"{path}.{key}", inner)]
    return [(path, option_text(value))]


def _options(output: Output, section: str, options: list[dict[str, Any]]) -> None:
    rows = [
        (
            f"{section}.{option['name']}",
            "required" if option["required"] else option_text(option["default"]),
            ", ".join([option["type"], *option["constraints"]]),
            option["description"],
        )
        for option in options
    ]
    output.table(f"options of the {section}", rows or [("(none)", "", "", "")])


def plugins(
    output: Output, records: Sequence[PluginRecord], problems: Mapping[str, Sequence[str]], with_traceback: bool
) -> None:
    """Print what became of each plugin.

    Args:
        output: Prints it.
        records: The plugins.
        problems: ``PluginRecord.origin`` -> what else was found wrong with it.
        with_traceback: Whether to print the traceback of each failed one.
    """
    titles = [f"{record.distribution or ''} {record.version or ''}" for record in records]
    rows = [(each.name, title, each.status, _outcome(each)) for each, title in zip(records, titles, strict=True)]
    output.table("plugins", rows)
    for record in records:
        found = [*record.clashes, *(each for each in problems.get(record.origin, ()) if each != record.error)]
        for problem in dict.fromkeys(found):
            output.line(f"{record.origin}: {problem}")
        if record.status == "failed":
            where = f" ({record.file or record.metadata})" if record.file or record.metadata else ""
            output.line(f"{record.origin}{where} is left out; silence it with NASREG_DISABLE={record.name}")
        if with_traceback and record.traceback:
            output.line(f"\n{record.traceback}")
    if not with_traceback and any(record.traceback for record in records):
        output.line("see where it failed with: nasreg plugins --traceback")


def _outcome(record: PluginRecord) -> str:
    if record.error:
        return record.error
    provided = {f"{kind}s": getattr(record, f"{kind}s") for kind in KINDS}
    parts = [f"{kind}: {_some(names)}" for kind, names in provided.items() if names]
    if record.summary:
        parts.insert(0, f"{record.summary}; {record.homepage}" if record.homepage else record.summary)
    if record.seconds >= SLOW:
        parts.append(f"slow: it took {format_duration(record.seconds)} to load")
    return "; ".join(parts)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def profile(output: Output, title: str, found: NetworkProfile) -> None:
    """Print the cost of a network."""
    rows = [
        ("parameters", f"{found.parameters:,}"),
        ("MACs", f"{found.macs:,} for one image"),
        ("activations", f"{format_bytes(found.activation_bytes)} to train on a batch of {found.batch_size}"),
    ]
    rows += [
        (
            "latency",
            f"{each.median_ms:,.3f} ms for {plural(each.batch_size, 'image')}"
            f" (median of {each.rounds} rounds, interquartile range {each.spread_ms:,.3f} ms)",
        )
        for each in found.latency
    ]
    output.table(_measured(title, found), rows)


def _measured(title: str, found: NetworkProfile | SpaceProfile) -> str:
    """Return the title of a table of measurements."""
    image = "x".join(map(str, found.image))
    threads = f" with {plural(found.threads, 'thread')}" if found.device == "cpu" else ""
    return f"{title} on images of {image}, on {found.device}{threads}"


def costs(output: Output, means: Mapping[str, Mapping[str, MeanCost]]) -> None:
    """Print the mean cost of each candidate of a space, a table for each choice."""
    for key, candidates in means.items():
        rows = [("candidate", "places", "parameters", "MACs", "latency")]
        rows += [
            (name, str(mean.places), f"{mean.parameters:,.0f}", f"{mean.macs:,.0f}", f"{mean.latency_ms:.3f} ms")
            for name, mean in candidates.items()
        ]
        output.table(f"{key}: means", _numbers_right(rows))


def space_profile(output: Output, found: SpaceProfile) -> None:
    """Print what the architectures of a space cost, and what budgets admit."""
    from nasreg.specs.trial import COSTS, LATENCY

    rows = [("architecture", "parameters", "MACs", "latency")]
    rows += [
        (name, f"{cost.parameters:,}", f"{cost.macs:,}", f"{cost.latency_ms:,.3f} ms")
        for name, cost in (("smallest", found.smallest), ("middle", found.middle), ("largest", found.largest))
    ]
    output.table(_measured(found.space, found), _numbers_right(rows))
    decisions = plural(found.n_decisions, "elementary decision")
    output.line(f"{format_count(found.n_architectures)} architectures, each of {decisions}")
    if not found.budgets:
        return
    lines = [("budget", "at most", "can be met", f"of {found.samples:,} random architectures")]
    for name, budget in found.budgets.items():
        metric = next(cost for cost in COSTS if cost.name == name)
        limit = f"{budget.limit:,.3f} ms" if metric == LATENCY else f"{budget.limit:,.0f}"
        met = {True: "yes", False: "no", None: "perhaps: none that was measured meets it"}[budget.reachable]
        lines.append((metric.title, limit, met, "not measured" if budget.share is None else f"{budget.share:.0%}"))
    counted = [budget for budget in found.budgets.values() if budget.share is not None]
    if len(counted) > 1 and found.share is not None:
        lines.append(("both", "", "", f"{found.share:.0%}"))
    # without random architectures the last column says nothing
    output.table("budgets", lines if found.samples else [line[:-1] for line in lines])


def block_profile(output: Output, found: BlockProfile) -> None:
    """Print the costs of the blocks of a space, and what they predict next to what was measured."""
    table = found.table
    image, threads = "x".join(map(str, table.image)), plural(table.threads, "thread")
    rows: list[tuple[str, ...]] = [("block", "decisions", "costs", "parameters", "MACs", "latency")]
    for block in table.blocks:
        keys = shorten(", ".join(dict.fromkeys(key for key, _ in block.decisions)), 40)
        costs = block.costs
        counts = (_range(costs["parameters"], ",.0f"), _range(costs["macs"], ",.0f"))
        latency = f"{_range(costs['latency_ms'], '.3f')} ms"
        rows.append((block.path or "(model)", keys or "-", str(len(costs["macs"])), *counts, latency))
    images = plural(table.batch_size, "image")
    where = f"latency of {images} on {table.device} with {threads}"
    output.table(f"{found.space} on images of {image}, {where}", _numbers_right(rows))
    lines = [("random architecture", "MACs", "predicted", "latency", "predicted", "ratio")]
    for number, each in enumerate(found.predictions, 1):
        measured, predicted = each.measured, each.predicted
        ratio = predicted["latency_ms"] / measured["latency_ms"]
        counts = (f"{measured['macs']:,.0f}", f"{predicted['macs']:,.0f}")
        latencies = (f"{measured['latency_ms']:.3f} ms", f"{predicted['latency_ms']:.3f} ms", f"{ratio:.2f}")
        lines.append((str(number), *counts, *latencies))
    if found.predictions:
        output.table("whole networks, measured and predicted as the sum of their blocks", _numbers_right(lines))


def _range(numbers: Sequence[float], style: str) -> str:
    """Return the smallest and the largest of some numbers as text, once if they look the same."""
    return " to ".join(dict.fromkeys(format(each, style) for each in (min(numbers), max(numbers))))


def _numbers_right(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return rows whose columns but the first are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [(row[0], *map(str.rjust, row[1:], widths[1:])) for row in rows]
