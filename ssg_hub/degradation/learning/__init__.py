"""Learning a camera from its pictures: kernels, noise and compression become a degradation bank."""
