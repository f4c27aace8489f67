"""The trainer of tables as a scikit-learn classifier: `fit`, `predict_proba`, and the run folder of the command."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from torchbce.common.errors import InputError
from torchbce.common.visible import MESSAGE, shown
from torchbce.io.files import FileRows
from torchbce.io.frames import (
    describe_value,
    frame_column_names,
    is_frame,
    join_names,
    rename_columns,
    stack_frames,
    to_frame,
)
from torchbce.monitor.history import Epoch
from torchbce.table.classifier.eval_set import read_eval_set
from torchbce.table.classifier.inputs import check_labels, check_weights, encode_groups, to_array
from torchbce.table.columns.columns import zero_in_front
from torchbce.table.columns.dataset import Dataset
from torchbce.table.columns.drift import unknown_categories
from torchbce.table.columns.infer import infer_column_types
from torchbce.table.columns.requirements import USABLE
from torchbce.table.encoded import EncodedTable
from torchbce.table.ensemble.callbacks import Callbacks
from torchbce.table.ensemble.config import OptimizerName, UserOptions, default_config
from torchbce.table.model import Model, fit_model
from torchbce.table.splits.holdout import Split

if TYPE_CHECKING:
    import polars as pl

__all__ = ["BCEClassifier"]

X_ROWS = FileRows("X")  # as messages name what a caller hands over
NUMERIC = ("numeric", "counts the rows")  # a column that the caller hands over is taken to be meant


class BCEClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    r"""A classifier of two classes for tables, trained on binary cross-entropy: small networks and trees.

    Columns are what they are in a table: numbers, texts and categories, dates, booleans, with gaps. It is made for the
    mean of ``-(y log p + (1 - y) log(1 - p))``, so what :meth:`predict_proba` gives can be taken for probabilities.

    Args:
        hidden: sizes of the hidden layers; by default by the number of rows, as all that is None here.
        members: networks whose probabilities are averaged. Each learns from its own part of the rows.
        heads: outputs of each network, averaged too.
        trees: whether boosted trees (scikit-learn's) learn beside the networks, a set for each; their weight in the
            blended logit is fitted on rows that neither has learnt from.
        epochs: the largest number of epochs.
        batch_size: rows per step.
        lr: the learning rate.
        optimizer: ``"adamw"`` on a one-cycle schedule, or plain ``"sgd"``.
        patience: epochs without a better validation BCE, after which training stops.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``: where the networks are trained; they predict on the CPU.
        time_budget: seconds of training at most. With it, a seed does not repeat a run bit for bit.
        categorical: names of columns of numbers to take as categories.
        warm_start: a further ``fit`` goes on with the networks of the last; trees begin anew.
        on_epoch: called with each :class:`~torchbce.Epoch`, such as ``print``.
        random_state: the same one gives the same model, bit for bit, with any number of threads.

    Attributes:
        classes_: the two classes; the second is the positive one.
        n_features_in_, feature_names_in_: as of scikit-learn's.
        history_: the epochs.
        columns_: all columns' names, in order.
        left_out_: those that were not used, and why.

    Example:
        >>> X, y = np.random.default_rng(0).normal(size=(200, 3)), np.arange(200) % 2
        >>> BCEClassifier(epochs=1, random_state=0).fit(X, y).predict_proba(X).shape
        (200, 2)
    """

    def __init__(
        self,
        *,
        hidden: Sequence[int] | None = None,
        members: int | None = None,
        heads: int | None = None,
        trees: bool = True,
        epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        optimizer: OptimizerName = "adamw",
        patience: int | None = None,
        time_budget: float | None = None,
        device: str = "cpu",
        categorical: Sequence[str] = (),
        warm_start: bool = False,
        on_epoch: Callable[[Epoch], object] | None = None,
        random_state: Any = None,
    ) -> None:
        self.hidden = hidden
        self.members = members
        self.heads = heads
        self.trees = trees
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.optimizer = optimizer
        self.patience = patience
        self.time_budget = time_budget
        self.device = device
        self.categorical = categorical
        self.warm_start = warm_start
        self.on_epoch = on_epoch
        self.random_state = random_state

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, groups: Any = None, eval_set: Any = None
    ) -> BCEClassifier:
        """Learn from rows.

        Args:
            X: pandas or polars DataFrame, Arrow table, or array (rows, columns), with gaps if there are.
            y: a class per row, two of them.
            sample_weight: a weight per row; 2 is as the row twice.
            groups: what each row belongs to; rows of one group are kept together when some are kept aside.
            eval_set: ``(X, y)`` or ``(X, y, weight)``, or a list of one, to choose the epoch by and to scale the logits
                on, instead of rows of ``X``. Without weights each of its rows counts the same, also where those of
                ``X`` have weights, and a ``UserWarning`` says so.

        Raises:
            ValueError: what scikit-learn's classifiers refuse; infinite values.
        """
        if y is None:  # scikit-learn expects this error before all others
            raise InputError("requires y to be passed, but the target y is None")
        frame = self._table(X)
        if frame.height == 1:
            raise ValueError("X has 1 sample; two classes need more (minimum 2)")
        y = check_labels(y, frame.height)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        weight = check_weights(sample_weight, frame.height)
        classes = self._classes(y if weight is None else y[weight > 0])
        examples = self._examples(frame, y == classes[1], weight, groups)
        splits: list[Split] | None = None
        if eval_set is not None and groups is not None:
            raise ValueError(
                "groups and eval_set were both given: groups keep rows of X together when some are kept aside, and "
                "with eval_set none are; leave groups out"
            )
        if eval_set is not None:
            examples, splits = self._with_eval_set(examples, eval_set, classes)
        start = getattr(self, "model_", None) if self.warm_start else None
        self.classes_ = classes
        encoded = EncodedTable.fit(examples) if start is None else EncodedTable.of(examples, start.columns)
        trained = fit_model(
            examples,
            encoded,
            self._options(),
            seed=seed,
            callbacks=Callbacks(epoch=self.on_epoch),
            splits=splits,
            start=start,
        )
        self.model_: Model = trained.model
        self.history_ = trained.fitted.history
        self.n_iter_ = len(self.history_)
        self.left_out_ = {**self._left_out, **trained.screened}
        self.columns_ = frame.columns
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """The logit of the positive class, (N,), float64."""
        return self._logits(X)

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, (N, 2), float64.

        Where a row has a category that training did not have, or only once, or a gap where training had none, it is the
        mean over the values that training had there, or, where training had rare categories enough, that of a rare one;
        a ``UserWarning`` names the column and the categories.
        """
        logits = self._logits(X)
        return np.stack([expit(-logits), expit(logits)], 1)

    def predict(self, X: Any) -> np.ndarray:
        """The more probable class."""
        positive = self._logits(X) > 0
        return np.asarray(self.classes_[positive.astype(int)])

    def _logits(self, X: Any) -> np.ndarray:
        """Return logits, with one warning about unknown categories that names the line of the caller's caller."""
        check_is_fitted(self, "model_")
        frame = self._new_rows(X)
        logits = self.model_.logits(frame, X_ROWS)
        unknown = unknown_categories(frame, self.model_.columns, X_ROWS)
        if unknown:
            warnings.warn(shown("X: " + "; ".join(unknown), MESSAGE), UserWarning, stacklevel=3)
        return logits

    def save(self, path: str | Path) -> None:
        """Write a run folder, as ``torchbce train`` makes it; :func:`torchbce.load` and ``torchbce predict`` read it.

        Raises:
            OutputError: the folder exists already, or cannot be written.
        """
        from torchbce.table.classifier.save import save

        check_is_fitted(self, "model_")
        save(self, Path(path))

    def _options(self) -> UserOptions:
        if self.optimizer not in ("adamw", "sgd"):
            raise ValueError(f"optimizer is {self.optimizer!r}; it is 'adamw' or 'sgd'")
        for name in ("members", "heads", "epochs", "batch_size", "patience", "lr", "time_budget"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value!r}; it must be above 0")
        return UserOptions(
            hidden=None if self.hidden is None else tuple(self.hidden),
            members=self.members,
            heads=self.heads,
            trees=self.trees,
            epochs=self.epochs,
            batch_size=self.batch_size,
            lr=self.lr,
            optimizer=self.optimizer,
            patience=self.patience,
            time_budget=self.time_budget,
            device=self.device,
        )

    def _table(self, X: Any) -> pl.DataFrame:
        """Check X as scikit-learn does, remember its columns' names, and return it as a frame."""
        if not is_frame(X):
            return to_frame(
                validate_data(
                    self, to_array(X), reset=True, dtype=None, ensure_all_finite="allow-nan", accept_sparse=False
                )
            )
        frame = to_frame(X)
        if not frame.height or not frame.width:
            raise InputError(
                f"X is {describe_value(X)}, with {frame.height} rows and {frame.width} columns; it needs some"
            )
        self.n_features_in_ = frame.width
        self.__dict__.pop("feature_names_in_", None)
        if all(isinstance(name, str) for name in getattr(X, "columns", frame.columns)):  # as scikit-learn has it
            self.feature_names_in_ = np.array(frame.columns, dtype=object)
        return frame

    def _new_rows(self, X: Any) -> pl.DataFrame:
        """Return the columns that the model needs as a frame, by their names; of an array, all columns."""
        if not is_frame(X):
            array = validate_data(
                self, to_array(X), reset=False, dtype=None, ensure_all_finite="allow-nan", accept_sparse=False
            )
            return to_frame(array, self.columns_)
        needed = list(dict.fromkeys(column.name for column in self.model_.columns))
        own = frame_column_names(X)
        missing = [name for name in needed if name not in own]
        if missing and not hasattr(self, "feature_names_in_") and len(own) == self.n_features_in_:
            warnings.warn(
                "X has feature names, but BCEClassifier was fitted without feature names: its columns are taken in "
                "their order",
                UserWarning,
                stacklevel=4,
            )
            return rename_columns(to_frame(X), self.columns_)
        if missing:
            raise InputError(
                f"X has no column{'s' * (len(missing) > 1)} {join_names(missing)}, which the model needs; add what is "
                "missing"
            )
        frame = to_frame(X, needed)
        for column in self.model_.columns:
            lost = zero_in_front(column)
            if lost is not None and frame[column.name].dtype.is_numeric():
                raise InputError(
                    f"X has numbers in column {column.name!r}, where the model knows texts such as {lost!r}: numbers "
                    f"have lost that zero; read it as text, as pd.read_csv(file, dtype={{{column.name!r}: str}}) does"
                )
        return frame

    def _classes(self, counted: np.ndarray) -> np.ndarray:
        classes = np.unique(counted)
        if len(classes) > 2:
            raise ValueError(
                "Only binary classification is supported. The type of the target is multiclass: "
                f"y has {len(classes)} classes"
            )
        if len(classes) == 1:
            raise ValueError(
                f"y holds one class only, {shown(repr(classes.tolist()[0]))}; BCEClassifier needs samples of 2 classes "
                "in the data"
            )
        return classes

    def _examples(self, frame: Any, positive: np.ndarray, weight: np.ndarray | None, groups: Any) -> Dataset:
        kinds = infer_column_types(frame, [], [str(name) for name in self.categorical], X_ROWS)
        kinds = {name: "numeric" if kind in NUMERIC else kind for name, kind in kinds.items()}
        self._left_out = {name: kind for name, kind in kinds.items() if kind not in USABLE}
        examples = Dataset(
            frame=frame,
            name=X_ROWS,
            kinds={name: kind for name, kind in kinds.items() if kind in USABLE},
            y=positive.astype(np.uint8),
            weight=weight,
            groups=encode_groups(groups, frame.height),
        )
        if weight is not None and not (weight > 0).all():
            examples = examples.of(np.flatnonzero(weight > 0))
        return examples

    def _with_eval_set(self, examples: Dataset, eval_set: Any, classes: np.ndarray) -> tuple[Dataset, list[Split]]:
        """Append the rows of the eval set, and return the splits by which every member is validated on them.

        Only the ratios of its weights count: their mean becomes that of the others.
        """
        frame, y, weight = read_eval_set(eval_set, examples.frame.columns, weighted=examples.weight is not None)
        unknown = [label for label in np.unique(y).tolist() if label not in classes.tolist()]
        if unknown:
            raise ValueError(
                f"eval_set's y holds {shown(repr(unknown[0]))}; the classes of y are {shown(classes.tolist())}"
            )
        learnt_from, judged_by = len(examples), frame.height
        own = np.ones(learnt_from) if examples.weight is None else examples.weight
        whole = np.concatenate([own, weight / weight.mean() * own.mean()])
        both = replace(
            examples,
            frame=stack_frames(examples.frame, frame),
            y=np.concatenate([examples.y, y == classes[1]]).astype(np.uint8),
            weight=None if examples.weight is None and (weight == weight[0]).all() else whole,
            groups=None,
        )
        split = np.arange(learnt_from), np.arange(learnt_from, learnt_from + judged_by)
        return both, [split] * default_config(learnt_from, self._options()).members

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags
