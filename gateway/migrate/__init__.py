"""What people bring along from LiteLLM: its configuration and its keys, in our spelling. Pure: texts in, texts out.

`config.convert` and `keys.read` are the ways in. Whatever stands in what was brought gets at least one line in the
report, so that nothing is lost in silence; and no report and no text that is written here holds a secret.
"""
