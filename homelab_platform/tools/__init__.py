"""One module per outside tool. Probes read, changes write; the two are never mixed in one function."""
