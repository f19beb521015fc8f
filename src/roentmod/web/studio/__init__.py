"""The studio: radiographs and finished runs in a browser, for the person at this machine.

`app` holds the pages, `sources` what may be opened, `workshop` the warm editor and the history of
edits, `brush` painted regions, `spelling` the command line and the Python of an edit, `finished`
what is shown of a run.
"""
