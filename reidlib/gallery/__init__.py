"""After training: a model that takes pictures, and a gallery that answers who is in them."""
