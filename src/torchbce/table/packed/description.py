"""The checked description of a cache: all of it but its rows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from torchbce.table.columns.columns import Column, levels_of, number_count
from torchbce.table.columns.target import Target
from torchbce.table.packed.bounds import Bounds
from torchbce.table.packed.part_file import Part
from torchbce.table.packed.records import Layout
from torchbce.table.splits.parts import NAMES, TRAIN, VALID

FORMAT: Literal["torchbce-cache-3"] = "torchbce-cache-3"
TRAIN_PART, VALID_PART = NAMES[TRAIN], NAMES[VALID]
MOST_EDGES = 4097  # of a number: a network has 4,096 pieces at most


class CacheFile(BaseModel):
    """The contents of cache.json: all of a cache but its rows and tensors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: Literal["torchbce-cache-3"] = FORMAT
    fingerprint: str
    name: str
    options: dict[str, str | int | float | bool | list[str] | None]
    target: Target
    kinds: dict[str, str]
    left_out: dict[str, str]
    notes: list[str]
    dropped: list[str]  # what is said of rows that are in no part
    columns: list[Column] = Field(max_length=100_000)
    layout: Layout
    parts: dict[str, Part]
    edges: int = Field(ge=0)
    tensors: str  # the digest of their file
    digest: str = ""  # of this file, without it

    @model_validator(mode="after")
    def _fits(self) -> CacheFile:
        for name, part in self.parts.items():
            if part.file != f"{name}.records":
                raise ValueError(f"the part {name} is said to be in {part.file}")
        if not {TRAIN_PART, VALID_PART} <= self.parts.keys() <= set(NAMES):
            raise ValueError(f"its parts are {', '.join(self.parts) or 'none'}; expected {', '.join(NAMES)}")
        if not 0 < self.parts[TRAIN_PART].ones < self.parts[TRAIN_PART].rows:
            raise ValueError("its training rows are all of one class")
        return self

    def own_digest(self) -> str:
        """Return the digest that this file should have."""
        return hashlib.sha256(self.model_copy(update={"digest": ""}).model_dump_json().encode()).hexdigest()


@dataclass(frozen=True)
class EncodedSample:
    """A sample of the encoded training rows, float32, with targets and weights; edges: of every number, or none."""

    edges: list[np.ndarray]
    rows: np.ndarray
    answers: np.ndarray
    weight: np.ndarray | None

    def named(self) -> dict[str, np.ndarray]:
        """Return the tensors by their names in the file."""
        arrays = {f"edges.{i}": cuts for i, cuts in enumerate(self.edges)}
        arrays |= {"sample": self.rows, "answers": self.answers}
        return arrays if self.weight is None else arrays | {"weight": self.weight}

    @classmethod
    def of(cls, named: dict[str, np.ndarray], described: CacheFile) -> EncodedSample:
        """Restore from `named`.

        Raises:
            ValueError: they are not those of a table with these columns.
        """
        names = [f"edges.{i}" for i in range(described.edges)]
        weighted = described.layout.weighted
        if named.keys() != {*names, "sample", "answers", *(["weight"] if weighted else [])}:
            raise ValueError("its tensors are not those of its columns")
        tensors = cls([named[name] for name in names], named["sample"], named["answers"], named.get("weight"))
        tensors._require_fitting(described)
        return tensors

    def _require_fitting(self, described: CacheFile) -> None:
        numbers, levels = number_count(described.columns), levels_of(described.columns)
        if len(self.edges) not in (0, numbers):
            raise ValueError(f"there are edges of {len(self.edges)} numbers; its columns give {numbers}")
        for i, cuts in enumerate(self.edges):
            sized = cuts.dtype == np.float32 and cuts.ndim == 1 and 1 <= len(cuts) <= MOST_EDGES
            if not (sized and np.isfinite(cuts).all() and (np.diff(cuts) > 0).all()):
                raise ValueError(f"edges.{i} are not numbers that rise")
        expected = Bounds.of(described.columns, self.edges).layout(weighted=described.layout.weighted)
        if described.layout != expected:
            raise ValueError(f"its rows are laid out as {described.layout}; its columns need {expected}")
        count = len(self.answers)
        if self.rows.dtype != np.float32 or self.rows.shape != (count, numbers + len(levels)) or not count:
            raise ValueError(f"sample is {self.rows.dtype} {self.rows.shape}; expected rows of its columns")
        codes = self.rows[:, numbers:]
        if not (np.isfinite(self.rows).all() and ((codes >= 0) & (codes < levels) & (codes % 1 == 0)).all()):
            raise ValueError("sample holds what no row has")
        if self.answers.dtype != np.float32 or not ((self.answers == 0) | (self.answers == 1)).all():
            raise ValueError("answers are not 0 and 1")
        if self.weight is not None:
            sized = self.weight.dtype == np.float64 and self.weight.shape == (count,)
            if not (sized and np.isfinite(self.weight).all() and (self.weight >= 0).all()):
                raise ValueError("weight holds what is no weight")
