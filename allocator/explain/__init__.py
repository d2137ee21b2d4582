"""Why an allocation is what it is: in dollars, from its own numbers."""
