"""The verbs of the command line, one file each: what it asks for (`add_arguments`) and what it does (`run`)."""
