"""Write scikit-learn's breast cancer table (569 rows, 30 measurements, benign = 1 or 0) as a CSV file."""

import sys

import polars as pl
from sklearn.datasets import load_breast_cancer

data = load_breast_cancer()
table = pl.DataFrame(data.data, schema=[name.replace(" ", "_") for name in data.feature_names])
table.with_columns(benign=pl.Series(data.target)).write_csv(sys.argv[1])
