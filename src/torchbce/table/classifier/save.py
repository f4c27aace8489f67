"""Write a classifier as a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchbce.common.writing import naming
from torchbce.table.columns.target import Target
from torchbce.table.run.folder import ClassKind, describe_model, save_model
from torchbce.table.run.reservation import reserve_run_folder

if TYPE_CHECKING:
    from torchbce.table.classifier.classifier import BCEClassifier

FROM_ARRAY = "BCEClassifier, of an array"
KINDS: dict[str, ClassKind] = {"i": "integer", "u": "integer", "f": "number", "b": "boolean"}


def save(classifier: BCEClassifier, folder: Path) -> None:
    """Write a run folder; see `BCEClassifier.save`."""
    negative, positive = classifier.classes_.tolist()
    ensemble = classifier.model_.ensemble
    described = describe_model(
        classifier.model_,
        source="BCEClassifier" if hasattr(classifier, "feature_names_in_") else FROM_ARRAY,
        target=Target(column="y", positive=str(positive), negative=str(negative)),
        classes=KINDS.get(classifier.classes_.dtype.kind, "text"),
        left_out=classifier.left_out_,
        features=classifier.columns_,
        training={name: _plain(value) for name, value in classifier.get_params().items()},
        result={},
    )
    with reserve_run_folder(folder, exact=True) as reserved, naming(folder):
        save_model(reserved.draft, described, ensemble)
        reserved.finish()


def _plain(value: Any) -> str | int | float | None:
    return value if value is None or isinstance(value, str | int | float) else str(value)
