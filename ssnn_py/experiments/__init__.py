"""The published experiments of Holberg and Salvi (NeurIPS 2024), runnable: ``ssnn reproduce figure1``."""
