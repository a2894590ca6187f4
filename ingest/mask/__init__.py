"""Masking of personal and financial data in documents, before they are cut into chunks."""
