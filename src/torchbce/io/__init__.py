"""Reading tables and predictions (CSV, Parquet, Arrow, data frames, pipes) and writing them."""
