"""`flow/<stream>`: how readings come in."""
