"""int8 for a generator: fitting it to calibration pictures, and the gates that it has to pass."""
