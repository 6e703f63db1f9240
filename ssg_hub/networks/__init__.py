"""The networks: generators, discriminators and the guide, and published weights read into them."""
