"""What `rules` measures, a file for each kind of fault; all work on whole columns of texts."""
