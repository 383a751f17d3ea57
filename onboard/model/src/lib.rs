//! Loads, checks and runs signed ONNX model packages.
