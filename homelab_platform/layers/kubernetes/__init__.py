"""`cluster/<lab>` and `workload/<name>`: the Kubernetes cluster and the Helm releases on it."""
