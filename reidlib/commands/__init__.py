"""What ``reidlib`` (or ``python -m reidlib``) offers a person: a file for each sub-command; no stage imports it.

A sub-command is a file with `HELP` (a line), `EXAMPLE` (command lines) and `main(arguments)`, and its name in
`reidlib.commands.table.COMMANDS`. It imports torch, pandas and the like inside its functions, so that help is quick.
"""
