"""Pictures in and out of the package: reading, writing, resampling, and the `Picture` between them."""
