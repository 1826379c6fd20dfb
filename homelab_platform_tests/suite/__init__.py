"""What makes the tests one suite: in which order and on which worker they run, and what they may take."""
