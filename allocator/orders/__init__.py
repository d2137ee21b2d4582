"""From the convex optimum to orders: whole lots, then an order list. Exact decimals from here outwards."""
