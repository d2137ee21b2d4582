"""What one quantity costs in another: evenly spaced points along the trade-off of a scenario."""
