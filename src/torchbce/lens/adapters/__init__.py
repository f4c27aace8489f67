"""The meter in other people's loops: a torchmetrics Metric, a Lightning callback, a TensorBoard writer."""
