"""Typed workloads, read from helm/<workload>/workload.yaml and from the same folder beside a lab file."""
