"""Classical filters, and how learned kernels compare with them."""
