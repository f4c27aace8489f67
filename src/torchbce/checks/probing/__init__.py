"""Trying a copy of somebody's model and loss, and identifying a loss by its gradients."""
