"""Measure the cluster against its peers on one machine. Every figure in the documentation is a row written here."""
