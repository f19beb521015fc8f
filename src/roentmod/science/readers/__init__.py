"""Reader studies: areas, shares, agreement, pairs and power, with readers and cases as samples."""
