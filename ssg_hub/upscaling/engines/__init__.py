"""What runs the networks on a tile."""
