"""Where a network's numbers come from: published checkpoints found, checked and loaded, or seeded ones made."""
