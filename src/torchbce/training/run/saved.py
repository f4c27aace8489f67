"""Classifiers as run folders, and run folders as classifiers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from torchbce.common.errors import OutputError
from torchbce.training.classifier import BCEClassifier
from torchbce.training.run.folder import ClassKind, class_values, describe, load_model, save_model
from torchbce.training.run.reservation import reserved
from torchbce.training.table.target import Target

__all__ = ["load"]

FROM_ARRAY = "BCEClassifier, of an array"
KINDS: dict[str, ClassKind] = {"i": "integer", "u": "integer", "f": "number", "b": "boolean"}


def load(path: str | Path) -> BCEClassifier:
    """A model that ``torchbce train`` or :meth:`BCEClassifier.save` wrote, ready to predict.

    Args:
        path: the run folder.

    Returns:
        A fitted :class:`BCEClassifier`. Its frames need the columns that it learnt from; others are ignored.

    Raises:
        RunFolderError: it is not a whole run folder. Nothing in a folder is executed.

    Example:
        >>> import tempfile
        >>> X, y = np.random.default_rng(0).normal(size=(200, 3)), np.arange(200) % 2
        >>> folder = tempfile.mkdtemp() + "/run"
        >>> BCEClassifier(epochs=1, random_state=0).fit(X, y).save(folder)
        >>> load(folder).predict_proba(X).shape
        (200, 2)
    """
    described, model = load_model(Path(path))
    found = BCEClassifier()
    names = described.features or list(dict.fromkeys(column.name for column in described.columns))
    found.model_, found.left_out_ = model, described.left_out
    found.classes_ = class_values(described.classes, [described.target.negative, described.target.positive])
    found.columns_, found.n_features_in_ = names, len(names)
    if described.source != FROM_ARRAY:
        found.feature_names_in_ = np.array(names, dtype=object)
    return found


def save(classifier: BCEClassifier, folder: Path) -> None:
    """See `BCEClassifier.save`."""
    negative, positive = classifier.classes_.tolist()
    ensemble = classifier.model_.ensemble
    described = describe(
        classifier.model_,
        source="BCEClassifier" if hasattr(classifier, "feature_names_in_") else FROM_ARRAY,
        target=Target(column="y", positive=str(positive), negative=str(negative)),
        classes=KINDS.get(classifier.classes_.dtype.kind, "text"),
        left_out=classifier.left_out_,
        features=classifier.columns_,
        training={name: _plain(value) for name, value in classifier.get_params().items()},
        result={},
    )
    with reserved(folder, exact=True) as place:
        try:
            save_model(place.draft, described, ensemble)
            place.finish()
        except OSError as error:
            raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from error


def _plain(value: Any) -> str | int | float | None:
    return value if value is None or isinstance(value, str | int | float) else str(value)
