"""What a comparison says in words: one sentence that its figures support, how far it holds, what was compared."""

from __future__ import annotations

from collections.abc import Sequence

from nasreg.specs import RunSpec
from nasreg.specs.formatting import plural
from nasreg.specs.study import StudyBudget
from nasreg.studies.judging import Judgement, Ranking, judge, seeds_needed
from nasreg.studies.protocol import Group
from nasreg.studies.statistics import best_label, summaries, summarize
from nasreg.studies.tables import spread_text


def summary_sentence(groups: Sequence[Group], ranking: Ranking | None = None) -> str:
    """Return the result in a sentence.

    Args:
        groups: The groups of runs that may be compared.
        ranking: Over problems, where there are enough.
    """
    known = [group for group in groups if group.done]
    if not known:
        return "No run has a result yet."
    if len(known) == 1:
        return group_sentence(known[0], judge(known[0]))
    if ranking is not None:
        best = ranking.labels[0]
        text = f"Over {ranking.n} problems {best} has the best mean rank ({ranking.mean_ranks[0]:.2f})"
        if not ranking.significant:
            return f"{text}, but the algorithms do not differ significantly (Friedman, p = {p_text(ranking.p)})."
        limit = ranking.mean_ranks[0] + ranking.critical_difference
        near = [each for each, mean in zip(ranking.labels, ranking.mean_ranks, strict=True) if mean <= limit][1:]
        far = [each for each in ranking.labels[1:] if each not in near]
        if not far:
            return f"{text}, but no other one is significantly worse (Nemenyi)."
        differs = f"significantly better than {listed(far)} (Nemenyi, p < 0.05)"
        return f"{text}, {differs}{f'; not significantly better than {listed(near)}' if near else ''}."
    wins: dict[str, int] = {}
    for group in known:
        best_here = best_label(group)
        if best_here is not None:
            wins[best_here] = wins.get(best_here, 0) + 1
    parts = [f"{label} on {count}" for label, count in sorted(wins.items(), key=lambda each: -each[1])]
    return f"Of {len(known)} problems the best mean score is that of {listed(parts)}; they are judged one by one below."


def group_sentence(group: Group, judgement: Judgement) -> str:
    """Return the result of a group in a sentence."""
    best = best_label(group)
    if best is None:
        return "No run has a result yet."
    known = summaries(group)
    summary = known[best]
    others = [label for label in group.labels if label != best and group.of(label)]
    value = spread_text(group.objective, summary.mean, summary.std)
    runs = f"{plural(summary.n, 'seed')}"
    if not others:
        return (
            f"{best} reaches {group.objective.title} {value} on {group.title} ({runs}); there is no other to compare."
        )
    if all(known[other].mean == summary.mean for other in others):
        return f"{listed([best, *others])} reach the same mean {group.objective.title} on {group.title}: {value}."
    text = f"{best} has the best mean {group.objective.title} on {group.title}: {value} over {runs}"
    if not judgement.can_tell:
        return f"{text}; these are too few to tell whether it is better than {listed(others)}."
    pairs = {other: judgement.pair(best, other) for other in others}
    better = [other for other, pair in pairs.items() if pair is not None and pair.significant]
    same = [other for other in others if other not in better]
    test = judgement.pairs[0].test
    if not better:
        return f"{text}, but the difference to {listed(same)} is not significant ({test}, Holm)."
    worst = max(pair.p_holm for other, pair in pairs.items() if pair is not None and other in better)
    differs = f"significantly better than {listed(better)} ({test}, Holm: p {at_most(worst)})"
    return f"{text}, {differs}{f'; not significantly better than {listed(same)}' if same else ''}."


def strength_note(group: Group, judgement: Judgement) -> str:
    """Return whether there are enough runs to tell anything, or an empty text."""
    if not judgement.pairs or judgement.can_tell:
        return ""
    n, comparisons = min(pair.n for pair in judgement.pairs), len(judgement.pairs)
    return (
        f"{plural(n, 'seed')} cannot tell algorithms apart, whatever the scores are: the smallest p that"
        f" {plural(comparisons, 'comparison')} can have is {p_text(judgement.smallest_p)}."
        f" {seeds_needed(comparisons)} seeds can, with a large effect."
    )


def sampling_note(group: Group, baseline: str) -> str:
    """Return what one random architecture reaches, the first of each random search, or an empty text.

    What an algorithm finds above it is due to the search, the rest to the space (Lindauer and Hutter, arXiv 1909.02453,
    best practice 8: random sampling next to random search).

    Args:
        group: Runs that may be compared.
        baseline: Name of random search.
    """
    runs = [run for run in group.done if isinstance(run.spec, RunSpec) and run.spec.algorithm_title == baseline]
    first = [run.curve[0].value for run in runs if run.curve]
    if not first:
        return ""
    value = summarize(first)
    return (
        f"A random architecture, without any search: {group.objective.title}"
        f" {spread_text(group.objective, value.mean, value.std)} (the first of each {baseline} search)."
    )


def budget_note(budget: StudyBudget, *, one_shot: bool, multi_trial: bool) -> str:
    """Return how the algorithms are made comparable."""
    parts = []
    if multi_trial:
        if budget.evaluations or budget.seconds:
            given = [f"{budget.evaluations:,} evaluations"] if budget.evaluations else []
            if budget.seconds:
                given.append(f"{budget.seconds:,g} s of evaluations (simulated where a table states them)")
            first = ", whichever ends first" if len(given) > 1 else ""
            parts.append(f"every multi-trial search, random search included, has {' or '.join(given)}{first}")
        elif budget.epochs:
            parts.append(
                f"every multi-trial search trains as many architectures as {budget.epochs:,} epochs are enough for"
            )
        else:
            parts.append("every multi-trial search has the budget of its preset")
    if one_shot:
        epochs = f"{budget.epochs:,} epochs" if budget.epochs else "the epochs of its preset"
        parts.append(
            f"every one-shot search trains one supernet for {epochs}; the architecture that it finds is scored once by"
            " the evaluator of the others. An epoch of a supernet is no evaluation: compare the families by their"
            " times"
        )
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def p_text(p: float) -> str:
    """Return a p-value as text."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def at_most(p: float) -> str:
    """Return a p-value as an upper bound."""
    return "< 0.001" if p < 0.001 else f"≤ {p:.3f}"


def listed(names: Sequence[str]) -> str:
    """Return names as a list in a sentence."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
