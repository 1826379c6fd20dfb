"""One module per cross-field rule family; each rule is one function that yields Problems."""
