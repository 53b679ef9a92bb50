"""Reading documents and writing them while others write, whatever is done to them."""
