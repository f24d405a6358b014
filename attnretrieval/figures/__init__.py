"""Pictures: every function returns a Matplotlib figure and shows or writes nothing; `save` writes one.

    attention_matrix    attention weights as a matrix; `heads` draws one a head, side by side
    embedding_map       vectors as points on a plane, pairs joined
    gradient_report     where a checked gradient is wrong
    region_weights      which regions of an image one of its regions looks at
    word_region_maps    which regions each word looks at, and which words each region looks at
    retrieval_sheet     a query and what was found for it
    similarity_matrix   captions against images, right answers marked; several on one scale
    training_curves     losses, learning rate and recalls of a run

and one that returns an HTML page, with a `save` of its own:

    explanation_page    words light up their regions, and regions their words

Arrays may be of NumPy or CuPy. NaN, a wrong shape or a batch where one item belongs raise `ShapeError`, which says what came
and what was expected; labels may be of any language and length.
"""

from attnretrieval.figures.curves import training_curves
from attnretrieval.figures.embedding import embedding_map
from attnretrieval.figures.explanation import explanation_page
from attnretrieval.figures.maps import word_region_maps
from attnretrieval.figures.matrix import attention_matrix, heads
from attnretrieval.figures.regions import region_weights
from attnretrieval.figures.sheet import retrieval_sheet
from attnretrieval.figures.similarity import similarity_matrix
from attnretrieval.figures.style import save
from attnretrieval.gradcheck.picture import gradient_report

__all__ = ["attention_matrix", "embedding_map", "explanation_page", "gradient_report", "heads", "region_weights",
           "retrieval_sheet", "save", "similarity_matrix", "training_curves", "word_region_maps"]
