"""Read a run folder as a classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from torchbce.table.classifier.classifier import BCEClassifier
from torchbce.table.classifier.save import FROM_ARRAY
from torchbce.table.run.folder import class_values, load_model

__all__ = ["load"]


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
    classifier = BCEClassifier()
    names = described.features or list(dict.fromkeys(column.name for column in described.columns))
    classifier.model_, classifier.left_out_ = model, described.left_out
    classifier.classes_ = class_values(described.classes, [described.target.negative, described.target.positive])
    classifier.columns_, classifier.n_features_in_ = names, len(names)
    if described.source != FROM_ARRAY:
        classifier.feature_names_in_ = np.array(names, dtype=object)
    return classifier
