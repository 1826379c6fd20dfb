"""Secrets: references of the lab file (`sops:`, `env:`, `file:`), and the only place that turns one into a value."""
