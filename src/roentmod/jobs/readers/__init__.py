"""A reader study: its design, its answers, their analysis.

``STUDY`` holds what the serving process may see: ``plan.json`` (frozen by its hash), ``pictures/``
and the answers. ``STUDY-truth`` beside it holds what the pictures are, and is opened by nobody
before the analysis.
"""
