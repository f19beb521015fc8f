"""The jobs: what each run is made of, and one result type for each.

`roentmod.runs` carries them out; `roentmod.verbs` is the door to them.
"""
