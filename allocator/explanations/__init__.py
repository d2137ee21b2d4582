"""What an answer means: what limits cost, why none exists, why this order, what changed."""
