"""Kubernetes and Helm: probes that read a cluster, changes that write to it."""
