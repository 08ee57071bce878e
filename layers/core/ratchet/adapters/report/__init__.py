"""The report as a page: drawn by pygal, written by Jinja, readable by itself."""
