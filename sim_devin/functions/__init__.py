"""The tools as functions of a language model: schemas, arguments, calls."""
