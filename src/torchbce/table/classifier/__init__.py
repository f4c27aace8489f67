"""`BCEClassifier`: the trainer of tables as a scikit-learn estimator."""
