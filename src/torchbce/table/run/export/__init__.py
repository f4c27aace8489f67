"""Models for where torchbce is not: ONNX, from raw columns to probabilities, and torch.export."""
