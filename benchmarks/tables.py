"""A leaderboard of binary log loss: real tables, five folds, the same rows for everybody.

Base rate, logistic regression, scikit-learn's HistGradientBoosting (default; with early stopping; and tuned: the best
of six settings by its own validation rows), LightGBM and CatBoost with their defaults and early stopping, RealMLP-TD
for cross-entropy on tables below 5,500 rows (it takes up to a minute a fold), torchbce with its defaults. Each table's
losses are kept under build/tables, so a run that was stopped goes on, and `--again MODEL` computes them anew.

Run: python benchmarks/tables.py              (two hours the first time; --tables churn,magic for some)
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import machine
import numpy as np
import pandas as pd
import polars as pl
import real_tables
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

FOLDS = 5
COMMAND = shlex.join(sys.argv[1:])
CACHE = Path("build/tables")
MOST_LEVELS = 250  # of a category, for scikit-learn's trees; rarer levels are one
SETTINGS = [{"learning_rate": rate, "max_leaf_nodes": leaves} for rate in (0.03, 0.1) for leaves in (15, 31, 63)]

Model = Callable[[pd.DataFrame, np.ndarray, pd.DataFrame], np.ndarray]


def pandas_of(frame: pl.DataFrame) -> pd.DataFrame:
    """Texts as categories, which LightGBM and scikit-learn take as they are."""
    table = pd.DataFrame({name: frame[name].to_list() for name in frame.columns})
    for name in table:
        if not pd.api.types.is_numeric_dtype(table[name]):
            texts = table[name].astype(object)
            if texts.nunique() > MOST_LEVELS:
                texts = texts.where(texts.isin(texts.value_counts().index[:MOST_LEVELS]) | texts.isna(), "(other)")
            table[name] = texts.astype("category")
    return table.rename(columns={name: f"x{i}" for i, name in enumerate(table)})


def categories(X: pd.DataFrame) -> list[str]:
    return [name for name in X if isinstance(X[name].dtype, pd.CategoricalDtype)]


def base_rate(X: pd.DataFrame, y: np.ndarray, test: pd.DataFrame) -> np.ndarray:
    return np.full(len(test), y.mean())


def logistic(X: pd.DataFrame, y: np.ndarray, test: pd.DataFrame) -> np.ndarray:
    names = categories(X)
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", min_frequency=2), names),
        remainder=make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()),
    )
    return make_pipeline(encode, LogisticRegression(max_iter=1000)).fit(X, y).predict_proba(test)[:, 1]


def boosting(**settings: object) -> Model:
    def model(X: pd.DataFrame, y: np.ndarray, test: pd.DataFrame) -> np.ndarray:
        trees = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=0, **settings)
        return trees.fit(X, y).predict_proba(test)[:, 1]

    return model


def tuned_boosting(X: pd.DataFrame, y: np.ndarray, test: pd.DataFrame) -> np.ndarray:
    found = [
        HistGradientBoostingClassifier(
            categorical_features="from_dtype",
            random_state=0,
            max_iter=1000,
            early_stopping=True,
            n_iter_no_change=20,
            **settings,
        ).fit(X, y)
        for settings in SETTINGS
    ]
    return max(found, key=lambda trees: trees.validation_score_.max()).predict_proba(test)[:, 1]


def lightgbm(X: pd.DataFrame, y: np.ndarray, test: pd.DataFrame) -> np.ndarray:
    import lightgbm as lgb

    train, valid, y_train, y_valid = train_test_split(X, y, test_size=0.1, stratify=y, random_state=0)
    trees = lgb.LGBMClassifier(n_estimators=1000, verbose=-1, random_state=0)
    trees.fit(train, y_train, eval_set=[(valid, y_valid)], callbacks=[lgb.early_stopping(20, verbose=False)])
    return trees.predict_proba(test)[:, 1]


def catboost(X: pd.DataFrame, y: np.ndarray, test: pd.DataFrame) -> np.ndarray:
    from catboost import CatBoostClassifier

    names = categories(X)

    def texts(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(**{name: table[name].astype(object).fillna("(missing)").astype(str) for name in names})

    train, valid, y_train, y_valid = train_test_split(texts(X), y, test_size=0.1, stratify=y, random_state=0)
    trees = CatBoostClassifier(
        verbose=False, early_stopping_rounds=50, cat_features=names, random_seed=0, allow_writing_files=False
    )
    return trees.fit(train, y_train, eval_set=(valid, y_valid)).predict_proba(texts(test))[:, 1]


def realmlp(X: pd.DataFrame, y: np.ndarray, test: pd.DataFrame) -> np.ndarray:
    from pytabkit import RealMLP_TD_Classifier

    network = RealMLP_TD_Classifier(device="cpu", random_state=0, val_metric_name="cross_entropy", use_ls=False)
    return network.fit(X, y).predict_proba(test)[:, 1]


def torchbce(X: pl.DataFrame, y: np.ndarray, test: pl.DataFrame) -> np.ndarray:
    from torchbce import BCEClassifier

    return BCEClassifier(random_state=0).fit(X, y).predict_proba(test)[:, 1]


MODELS: dict[str, Model] = {
    "base rate": base_rate,
    "logistic regression": logistic,
    "HistGB": boosting(),
    "HistGB, early stopping": boosting(learning_rate=0.05, max_iter=1000, early_stopping=True, n_iter_no_change=20),
    "HistGB, tuned": tuned_boosting,
    "LightGBM": lightgbm,
    "CatBoost": catboost,
    "RealMLP-TD": realmlp,
    "torchbce": torchbce,
}
OURS = "torchbce"
MOST_ROWS = {"RealMLP-TD": 5_500}


def losses(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Nats; a probability of 0 or 1 that is wrong costs what 1e-15 does."""
    right = np.clip(np.where(y == 1, p, 1 - p), 1e-15, None)
    return -np.log(right)


def run(data: real_tables.Dataset, model: str, again: bool) -> tuple[np.ndarray, float]:
    """Item losses of all rows, each out of fold, and seconds, a mean over the folds."""
    kept = CACHE / f"{data.name} {model}.npz".replace(" ", "-").replace(",", "")
    if kept.exists() and not again:
        found = np.load(kept)
        return found["losses"], float(found["seconds"])
    frame = data.frame()
    y = (frame[data.target].cast(pl.String) == data.positive).to_numpy().astype(int)
    frame = frame.drop(data.target)
    table = None if model == OURS else pandas_of(frame)
    costs, seconds = np.empty(len(y)), 0.0
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(y, y):
        parts = (frame[train], frame[test]) if table is None else (table.iloc[train], table.iloc[test])
        start = time.perf_counter()
        p = MODELS[model](parts[0], y[train], parts[1])
        seconds += time.perf_counter() - start
        costs[test] = losses(y[test], p)
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.savez(kept, losses=costs, seconds=seconds / FOLDS)
    return costs, seconds / FOLDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", default="")
    parser.add_argument("--models", default="")
    parser.add_argument("--again", default="")
    asked = parser.parse_args()
    wanted = set(filter(None, asked.tables.split(",")))
    models = list(filter(None, asked.models.split(";"))) or list(MODELS)
    warnings.filterwarnings("ignore", category=FutureWarning)
    found: dict[str, dict[str, tuple[np.ndarray, float]]] = {}
    for data in real_tables.REPORTED:
        if wanted and data.name not in wanted:
            continue
        found[data.name] = {}
        rows = data.frame().height
        for model in models:
            if rows > MOST_ROWS.get(model, math.inf):
                continue
            found[data.name][model] = costs, seconds = run(data, model, model in asked.again.split(";"))
            print(f"{data.name:14s}{model:24s}{costs.mean():10.5f}{seconds:9.1f} s", flush=True)
    if models == list(MODELS):
        write(found)


def write(found: dict[str, dict[str, tuple[np.ndarray, float]]]) -> None:
    others = [name for name in MODELS if name != OURS]
    quality, pairs, time_lines = [], [], []
    for table, by_model in found.items():
        ours = by_model[OURS][0]
        means = {name: f"{costs.mean():.4f}" for name, (costs, _) in by_model.items()}
        quality.append([table, f"{len(ours):,}", *(means.get(name, "") for name in MODELS)])
        cells = []
        for name in others:
            if name not in by_model:
                cells.append("")
                continue
            more = by_model[name][0] - ours
            error = more.std(ddof=1) / math.sqrt(len(more))
            cells.append(f"{more.mean():+.4f} ± {1.96 * error:.4f}")
        pairs.append([table, *cells])
        time_lines.append([table, *(f"{by_model[name][1]:.1f}" if name in by_model else "" for name in MODELS)])
    quality.append(["**geometric mean**", "", *(_geometric_mean([*found.values()], name) for name in MODELS)])
    packages = {data.name: data.package for data in real_tables.REPORTED}
    sources = ", ".join(f"{name} ({packages[name]})" for name in found)
    tuning = ", ".join(data.name for data in real_tables.TUNING)
    machine.keep(
        "tables",
        "# Binary log loss on real tables\n\n"
        f"`python benchmarks/tables.py {COMMAND}`: "
        f"{machine.describe('torchbce', 'scikit-learn', 'lightgbm', 'catboost')}\n\n"
        f"Mean BCE in nats per item over all rows, each predicted out of fold ({FOLDS} folds). Tables: {sources}. "
        f"torchbce's rules were chosen on other tables: {tuning}.\n\n"
        + machine.table(["table", "rows", *MODELS], quality)
        + "\n\n## What each costs more than torchbce, with 95 % intervals of the paired difference\n\n"
        + machine.table(["table", *others], pairs)
        + "\n\n## Seconds per fold, training and predicting\n\n"
        + machine.table(["table", *MODELS], time_lines),
    )


def _geometric_mean(found: list[dict[str, tuple[np.ndarray, float]]], model: str) -> str:
    if any(model not in by_model for by_model in found):
        return ""
    return f"**{math.exp(np.mean([math.log(by_model[model][0].mean()) for by_model in found])):.4f}**"


if __name__ == "__main__":
    main()
