"""Problem sets, dataset readers and synthetic problem families."""
