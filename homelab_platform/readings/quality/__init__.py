"""Whether the readings are sound: verdicts, the measurements behind them, reconciliation."""
