"""The checks by code: what each is called, where it is explained, and which others it explains away."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One entry. `explains`: checks whose findings are consequences of this one."""

    code: str
    slug: str
    title: str
    explains: tuple[str, ...] = ()

    @property
    def page(self) -> str:
        """Its page, in the repository's docs."""
        return f"docs/checks/{self.code}.md"


def _entries() -> dict[str, Check]:
    entries = (
        Check("BCE001", "targets-range", "targets lie in [0, 1]", ("BCE007", "BCE021", "BCE027", "BCE028", "BCE029")),
        Check(
            "BCE002",
            "non-finite",
            "numbers are finite",
            ("BCE010", "BCE021", "BCE027", "BCE028", "BCE030", "BCE031", "BCE032"),
        ),
        Check(
            "BCE003",
            "cross-talk",
            "the loss compares each output with its own target only",
            ("BCE007", "BCE008", "BCE013"),
        ),
        Check(
            "BCE004",
            "sigmoid-twice",
            "no activation comes before a loss that has its own",
            ("BCE007", "BCE013", "BCE015", "BCE016", "BCE020"),
        ),
        Check(
            "BCE005",
            "missing-sigmoid",
            "a loss of probabilities gets probabilities",
            ("BCE002", "BCE010", "BCE011", "BCE013", "BCE016", "BCE032"),
        ),
        Check("BCE006", "constant-loss", "the loss depends on the outputs", ("BCE007", "BCE008", "BCE013", "BCE016")),
        Check("BCE007", "loss-is-bce", "the loss is binary cross-entropy", ("BCE013",)),
        Check("BCE008", "reduction", "the loss does not grow with the batch"),
        Check("BCE009", "pos-weight-shape", "pos_weight is one weight per class", ("BCE013",)),
        Check("BCE010", "saturation", "outputs are not so far out that there is no gradient"),
        Check("BCE011", "loss-at-start", "a new network costs about log 2", ("BCE010", "BCE012", "BCE013", "BCE016")),
        Check("BCE012", "head-bias", "the last bias starts at the base rate"),
        Check("BCE013", "overfits-one-batch", "a few items can be learned by heart"),
        Check("BCE014", "conflicting-items", "equal inputs have equal labels", ("BCE013",)),
        Check("BCE015", "input-ignored", "outputs depend on the inputs", ("BCE013", "BCE016")),
        Check("BCE016", "dead-gradient", "every parameter gets a gradient", ("BCE013",)),
        Check("BCE017", "optimizer-coverage", "the optimizer has every parameter"),
        Check("BCE018", "gradient-order", "each optimizer step gets the gradient of its own batch", ("BCE016",)),
        Check("BCE019", "batch-mixing", "in evaluation an item does not depend on the others", ("BCE013",)),
        Check("BCE020", "stuck", "the loss moves", ("BCE025", "BCE026")),
        Check("BCE021", "impossible-loss", "the loss is possible", ("BCE020", "BCE023", "BCE025", "BCE026")),
        Check("BCE022", "epoch-average", "the epoch's loss is the mean over items"),
        Check("BCE023", "other-unit", "losses that are compared have one unit and one objective"),
        Check("BCE024", "counted-twice", "every item is counted once"),
        Check("BCE025", "validation-below-train", "training loss is measured like validation loss"),
        Check("BCE026", "overfitting", "validation loss does not rise for long"),
        Check("BCE027", "no-better-than-base-rate", "predictions beat a constant"),
        Check("BCE028", "miscalibrated", "probabilities are right on the whole"),
        Check("BCE029", "wrong-scale", "outputs are what they are said to be", ("BCE010", "BCE027", "BCE028")),
        Check("BCE030", "too-good", "predictions are not too good to be true"),
        Check("BCE031", "few-items-carry-the-loss", "no handful of items carries the loss"),
        Check(
            "BCE032",
            "loss-runs",
            "the loss can be computed and differentiated",
            ("BCE013", "BCE015", "BCE016", "BCE019"),
        ),
        Check("BCE033", "one-class", "both targets occur", ("BCE027", "BCE030")),
        Check("BCE034", "diverging", "the training loss falls", ("BCE026",)),
    )
    return {entry.code: entry for entry in entries}


CATALOGUE = _entries()
