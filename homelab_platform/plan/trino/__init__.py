"""Trino's configuration rendered from the lab: for the server on this machine and for the Helm chart."""
