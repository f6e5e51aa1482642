"""Trials one by one: the settings they trained with, which of these matter, how they behaved."""
