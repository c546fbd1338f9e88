"""The command line: words into calls, a file for each verb.

Rule: the module of a verb has `add(parser)`, which adds its arguments, and `call(args)`, which runs it and
returns the exit code. What takes long to load is imported in `call`, so that a help comes at once.
"""
