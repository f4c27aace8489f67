"""Does find_label_errors find labels that were flipped, and does its interval hold their number?

Real tables: labels are flipped at random, a model learns from what results, and torchbce and cleanlab judge the same
out-of-fold predictions of it. A table has wrong labels of its own that nobody knows: they
count against everyone. Simulated tables: every wrong label is known, so the interval's coverage is too.

Run: python benchmarks/labels.py            (an hour; --quick: some minutes, and nothing is kept)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import machine
import numpy as np
import pandas as pd
import polars as pl
import real_tables
from cleanlab.count import num_label_issues
from cleanlab.rank import get_label_quality_scores
from sklearn.base import ClassifierMixin
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from torchbce.labels.find_label_errors import find_label_errors
from torchbce.labels.result import LabelErrors

QUICK = "--quick" in sys.argv
ROWS = 1_500 if QUICK else 10_000  # of a larger table, drawn at random
SIMULATED = 5 if QUICK else 100  # tables of each kind
# Those that the method and its limits were chosen on, in 4,000 rows, stand apart from the others.
CHOSEN_ON = {"breast cancer", "cells", "subscribers", "banana", "ring", "satimage", "Adult"}
CHOSEN_ON |= {"spambase", "churn", "phoneme", "COMPAS", "magic"}
ALL = real_tables.TUNING + real_tables.REPORTED
TABLES = {
    "others": [table for table in ALL if table.name not in CHOSEN_ON],
    "chosen on": [table for table in ALL if table.name in CHOSEN_ON],
}
if QUICK:
    TABLES = {group: tables[:1] for group, tables in TABLES.items()}
# Of true zeros, of true ones.
NOISE = {"1 %": (0.01, 0.01), "5 %": (0.05, 0.05), "10 %": (0.1, 0.1), "2 % of zeros, 10 % of ones": (0.02, 0.1)}
MODELS = {
    "logistic regression": LogisticRegression(max_iter=5_000),
    "boosted trees": HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=100, max_leaf_nodes=15, early_stopping=False
    ),
}
CASES = {"1,000 rows": 1_000, "5,000 rows": 5_000}


def encoded(table: real_tables.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and one-hot categories of at most `ROWS` rows, and the labels as they come."""
    frame = table.frame()
    frame = frame.sample(min(ROWS, frame.height), seed=0)
    labels = (frame[table.target].cast(pl.String) == table.positive).to_numpy().astype(int)
    columns = pd.DataFrame(frame.drop(table.target).to_dict(as_series=False))
    numbers = [name for name in columns if pd.api.types.is_numeric_dtype(columns[name])]
    texts = [name for name in columns if name not in numbers]
    columns[texts] = columns[texts].astype(str)
    categories = OneHotEncoder(min_frequency=20, handle_unknown="infrequent_if_exist", sparse_output=False)
    parts = (make_pipeline(SimpleImputer(), StandardScaler()), numbers), (categories, texts)
    return np.asarray(make_column_transformer(*parts).fit_transform(columns)), labels


def out_of_fold(model: ClassifierMixin, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return np.asarray(cross_val_predict(model, x, labels, cv=folds, method="predict_proba")[:, 1])


def flipped(labels: np.ndarray, rates: tuple[float, float], seed: int) -> np.ndarray:
    """Which labels to turn round."""
    return np.asarray(np.random.default_rng(seed).random(len(labels)) < np.where(labels == 1, rates[1], rates[0]))


@dataclass(frozen=True)
class Outcome:
    """What was found of one noisy table. Scores: precision among as many as are wrong, and average precision."""

    table: str
    wrong: int
    found: LabelErrors
    cleanlab_count: int
    by_saving: tuple[float, float]
    by_chance: tuple[float, float] | None
    by_cleanlab: tuple[float, float]

    @property
    def is_told(self) -> bool:
        return not self.found.reason

    @property
    def is_inside(self) -> bool:
        low, high = self.found.interval
        return low <= self.wrong <= high


def outcome(name: str, p: np.ndarray, labels: np.ndarray, wrong: np.ndarray) -> Outcome:
    """Both libraries on the same predictions."""
    found = find_label_errors(p, labels, from_logits=False, top=len(p))
    both = np.stack([1 - p, p], 1)
    places = np.array([item.row - 1 for item in found.items], np.int64)

    def scores(values: np.ndarray) -> tuple[float, float]:
        most = np.argsort(-values, kind="stable")[: wrong.sum()]
        return float(wrong[most].mean()), float(average_precision_score(wrong, values))

    def of_items(values: list[float]) -> tuple[float, float]:
        whole = np.full(len(p), -1e30)  # who is no suspect comes last
        whole[places] = values
        return scores(whole)

    return Outcome(
        name,
        int(wrong.sum()),
        found,
        num_label_issues(labels, both),
        of_items([item.saving for item in found.items]),
        None if found.reason else of_items([item.chance for item in found.items]),
        scores(-get_label_quality_scores(labels, both)),
    )


def on_real_tables(chosen: list[real_tables.Dataset]) -> Iterator[tuple[str, str, list[Outcome]]]:
    """The outcomes of all tables, by model and noise."""
    tables = {table.name: encoded(table) for table in chosen}
    for model in MODELS:
        for noise, rates in NOISE.items():
            outcomes = []
            for seed, (name, (x, labels)) in enumerate(tables.items()):
                wrong = flipped(labels, rates, seed)
                noisy = np.where(wrong, 1 - labels, labels)
                outcomes.append(outcome(name, out_of_fold(MODELS[model], x, noisy), noisy, wrong))
                print(f"  {model}, {noise}, {name}", flush=True)
            yield model, noise, outcomes


def averages(case: str, outcomes: list[Outcome]) -> list[str]:
    """Of the order: means over the tables; by chance over those where it is known."""
    told = [one for one in outcomes if one.by_chance is not None]

    def mean(values: list[float]) -> str:
        return f"{np.mean(values):.3f}" if values else "-"

    cells = []
    for at in (0, 1):
        cells += [mean([one.by_saving[at] for one in outcomes]), mean([one.by_cleanlab[at] for one in outcomes])]
        cells += [
            f"{mean([one.by_chance[at] for one in told if one.by_chance])} "
            f"/ {mean([one.by_cleanlab[at] for one in told])}"
        ]
    return [case, *cells]


def numbers(case: str, outcomes: list[Outcome]) -> list[str]:
    """Of the number: how often it is told, how often the interval holds it, and how far off the estimates are."""
    told = [one for one in outcomes if one.is_told]
    inside = sum(one.is_inside for one in told)
    at_most = sum(one.wrong <= one.found.interval[1] for one in told)

    def ratio(values: list[float]) -> str:
        return f"{np.median(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else "-"

    return [
        case,
        f"{len(told)} of {len(outcomes)}",
        f"{inside} of {len(told)}",
        f"{at_most} of {len(told)}",
        ratio([one.found.expected_count / one.wrong for one in told]),
        ratio([one.cleanlab_count / one.wrong for one in told]),
        ratio([one.cleanlab_count / one.wrong for one in outcomes]),
    ]


def of_each_table(model: str, outcomes: list[Outcome]) -> list[list[str]]:
    lines = []
    for one in outcomes:
        low, high = one.found.interval
        count = f"{one.found.expected_count:,.0f} ({low:,.0f} to {high:,.0f})" if one.is_told else "cannot be told"
        cells = [f"{one.found.count:,}", f"{one.wrong:,}", count, f"{one.cleanlab_count:,}"]
        lines.append([f"{one.table}, {model}", *cells, f"{one.by_saving[1]:.3f}", f"{one.by_cleanlab[1]:.3f}"])
    return lines


def simulated(rows: int, seed: int, *, curved: bool, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and true classes; the larger the scale, the surer most classes are."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 6))
    score = x[:, 0] + x[:, 1] * (np.abs(x[:, 2]) - 0.8) if curved else x[:, 0] + x[:, 1] - 0.5 * x[:, 2]
    return x, (rng.random(rows) < 1 / (1 + np.exp(-scale * score))).astype(int)


def on_simulated_tables(kind: str, *, curved: bool, scale: float) -> list[list[str]]:
    """Coverage; a model that fits what is to be learnt (curved: trees)."""
    model = MODELS["boosted trees" if curved else "logistic regression"]
    lines = []
    for case, rows in CASES.items():
        for noise, rates in {"none": (0.0, 0.0), **NOISE}.items():
            found, counts = [], []
            for seed in range(SIMULATED):
                x, true = simulated(rows, seed, curved=curved, scale=scale)
                wrong = flipped(true, rates, 10_000 + seed)
                noisy = np.where(wrong, 1 - true, true)
                errors = find_label_errors(out_of_fold(model, x, noisy), noisy, from_logits=False, top=0)
                if not errors.reason:
                    found.append((errors.expected_count, *errors.interval))
                    counts.append(wrong.sum())
            print(f"  {kind}, {case}, {noise}", flush=True)
            lines.append([f"{kind}, {case}, {noise}", *coverage(found, counts)])
    return lines


def coverage(found: list[tuple[float, float, float]], counts: list[int]) -> list[str]:
    if not found:
        return [f"0 of {SIMULATED}", "-", "-", "-", "-"]
    (expected, low, high), wrong = np.array(found).T, np.array(counts)
    inside = ((low <= wrong) & (wrong <= high)).mean()
    spread = (inside * (1 - inside) / len(wrong)) ** 0.5
    return [
        f"{len(found)} of {SIMULATED}",
        f"{wrong.mean():.1f}",
        f"{expected.mean():.1f}",
        f"{low.mean():.1f} to {high.mean():.1f}",
        f"{100 * inside:.1f} ± {100 * spread:.1f} %",
    ]


if __name__ == "__main__":
    order, amounts, single = [], [], []
    for group, tables in TABLES.items():
        for model, noise, outcomes in on_real_tables(tables):
            order.append(averages(f"{group}, {model}, {noise}", outcomes))
            amounts.append(numbers(f"{group}, {model}, {noise}", outcomes))
            if noise == "5 %":
                single += of_each_table(model, outcomes)
    kinds = {
        "line, sure": {"curved": False, "scale": 6.0},
        "line, unsure": {"curved": False, "scale": 2.0},
        "curve, sure": {"curved": True, "scale": 12.0},
        "curve, unsure": {"curved": True, "scale": 4.0},
    }
    simulations = [line for kind, settings in kinds.items() for line in on_simulated_tables(kind, **settings)]
    head = ["tables, model, flipped", "precision", "cleanlab", "by chance / cleanlab"]
    text = "\n\n".join(
        [
            "# Labels that are wrong",
            f"`python benchmarks/labels.py`: {machine.describe('torchbce', 'cleanlab', 'scikit-learn')}",
            "## The order\n\nMeans over real tables with labels flipped at random: "
            f"{len(TABLES['chosen on'])} that the method was chosen on, and {len(TABLES['others'])} others. Of the "
            "same out-of-fold predictions: precision among as many items as are flipped, then average precision. The "
            "order is that of `saving`; that of `chance` beside cleanlab's on the tables where it is known. cleanlab: "
            "`get_label_quality_scores`, self-confidence. Items that no prediction contradicts are no suspects of "
            "torchbce's: they come last, all as one; cleanlab's order of them adds a little to its average precision.",
            machine.table([*head, "average precision", *head[2:]], order),
            "## The number\n\nOn how many tables it is told, how often the 95 % interval holds the number of flipped "
            "labels and how often they are at most its upper end, and the estimate divided by that number (median, "
            "least and most). cleanlab: `num_label_issues`. A table's own wrong labels are not known, and add to every "
            "estimate; so does what a model cannot learn.",
            machine.table(
                [
                    "tables, model, flipped",
                    "told",
                    "in the interval",
                    "at most",
                    "estimate",
                    "cleanlab, same",
                    "cleanlab, all",
                ],
                amounts,
            ),
            "## Each table, 5 % flipped",
            machine.table(
                ["table", "rows", "flipped", "estimate (95 %)", "cleanlab", "average precision", "cleanlab"], single
            ),
            f"## Where the truth is known\n\n{SIMULATED} simulated tables of each kind; the model can fit them, and "
            "every wrong label is known. Sure: most items have a class that is nearly certain.",
            machine.table(
                ["kind, rows, flipped", "told", "wrong", "estimate", "mean interval", "in the interval"], simulations
            ),
        ]
    )
    if QUICK:
        print(text)
    else:
        machine.keep("labels", text)
