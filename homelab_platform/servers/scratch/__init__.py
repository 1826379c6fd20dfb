"""Real servers for a test session or a benchmark."""
