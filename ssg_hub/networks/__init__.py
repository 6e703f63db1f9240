"""The networks: generators (`registry`), discriminators and the guide, and published weights read into them;
the same networks as ONNX."""
