"""Faces in a browser: reader studies and the studio. They need the extra `web`."""
