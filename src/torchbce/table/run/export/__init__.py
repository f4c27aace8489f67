"""Export models to runtimes without torchbce: ONNX, from raw columns to probabilities, and torch.export."""
