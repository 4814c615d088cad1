"""USB devices in Python, and the boards behind them."""
