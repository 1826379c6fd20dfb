"""The one way in which an asset is applied: the adapter protocol, what was applied before, locks."""
