"""The networks: generators (`registry`), discriminators and the guide, and published weights read into them."""
