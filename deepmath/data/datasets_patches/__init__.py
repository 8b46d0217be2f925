"""Dependence on message texts of Hugging Face datasets, which has no exception type for these cases."""
