"""Images that hosts start from the first time, and the cards they are written to."""
