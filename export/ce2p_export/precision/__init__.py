"""Precision passes on the pure ONNX graph, one file each. They come before the fused ops."""
