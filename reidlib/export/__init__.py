"""A trained model as others take it: ONNX, and a folder with a model card."""
