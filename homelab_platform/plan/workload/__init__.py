"""One workload before it is applied: references filled in, objects beside its release, its rendering judged."""
