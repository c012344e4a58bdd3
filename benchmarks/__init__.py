"""Cost: time and memory, beside other libraries."""
