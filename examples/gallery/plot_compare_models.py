"""
Two models: better, or lucky?
=============================

A logistic regression and boosted trees on the same table, each row predicted by a model that has not seen it. Which
one has the lower loss, is it certain, and where does it win?
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import torchbce
from torchbce.comparison.plots import ComparisonDisplay

X, y = load_breast_cancer(return_X_y=True)
models = {
    "trees": GradientBoostingClassifier(n_estimators=50, max_features=6, random_state=0),
    "logistic": make_pipeline(StandardScaler(), LogisticRegression(C=0.1)),
}
outputs = {name: cross_val_predict(model, X, y, cv=5, method="predict_proba")[:, 1] for name, model in models.items()}

# %%
# The verdict comes first. The interval is that of the difference: rows that are hard for both drop out of it.

found = torchbce.compare(outputs["trees"], outputs["logistic"], y, from_logits=False, names=("trees", "logistic"))
print(found)

# %%
# As a picture: the difference, what of it is ranking and what calibration, and where it lies.

figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
ComparisonDisplay.from_comparison(found).plot(axes)
plt.show()

# %%
# Three or more models are set beside the best, with intervals that allow for looking at many.

outputs["half of each"] = (outputs["trees"] + outputs["logistic"]) / 2
print(torchbce.compare_all(outputs, y, from_logits=False))
