"""What a host can do without Kubernetes."""
