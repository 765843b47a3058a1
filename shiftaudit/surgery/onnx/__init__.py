"""ONNX graphs: read and changed as the program that `shiftaudit.models.onnx` makes of them, and written back."""
