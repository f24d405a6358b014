"""Pictures: every function returns a Matplotlib figure and shows or writes nothing; `save` writes one.

    word_region_maps    which regions each word looks at, and which words each region looks at
    retrieval_sheet     a query and what was found for it
    training_curves     losses, learning rate and recalls of a run

and one that returns an HTML page, with a `save` of its own:

    explanation_page    words light up their regions, and regions their words
"""

from attnretrieval.figures.curves import training_curves
from attnretrieval.figures.explanation import explanation_page
from attnretrieval.figures.maps import word_region_maps
from attnretrieval.figures.sheet import retrieval_sheet
from attnretrieval.figures.style import save

__all__ = ["explanation_page", "retrieval_sheet", "save", "training_curves", "word_region_maps"]
