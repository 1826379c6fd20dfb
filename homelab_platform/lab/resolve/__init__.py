"""From the lab as written to the lab with every derived fact: one module for each part of it."""
