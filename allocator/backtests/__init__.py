"""Walk-forward on recorded markets: decisions as they would have been made, every cash flow as booked."""
