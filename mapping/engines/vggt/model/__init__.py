"""The published network in plain PyTorch: knows tensors, no windows and no limits. `vggt.py` is the whole of it."""
