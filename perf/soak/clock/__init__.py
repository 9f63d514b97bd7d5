"""A folder for PYTHONPATH: Python imports `sitecustomize` from it before the program, in each of its processes."""
