"""One folder for each layer of the lab, each with the adapter that observes and changes its assets."""
