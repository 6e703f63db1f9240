"""The page in the browser: its rooms, what their events do, the models and the queue behind them, and its limits."""
