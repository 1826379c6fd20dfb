"""Where every value of the resolved lab comes from."""
