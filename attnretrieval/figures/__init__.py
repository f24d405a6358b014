"""Pictures: every function returns a Matplotlib figure and shows or writes nothing; `save` writes one.

    word_region_maps    which regions each word looks at, and which words each region looks at
    attention_matrix    one attention map as a matrix
    heads               the maps of all heads side by side
    similarity_matrix   the scores of a batch, right answers framed; several snapshots of a training
    embedding_map       texts and images in the plane of their two principal components
    retrieval_sheet     a query and what was found for it
    training_curves     losses, learning rate and recalls of a run
    gradient_report     where a checked gradient is wrong

and one that returns an HTML page, with a `save` of its own:

    explanation_page    words light up their regions, and regions their words
"""

from attnretrieval.figures.attention_matrix import attention_matrix
from attnretrieval.figures.curves import training_curves
from attnretrieval.figures.embedding_map import embedding_map
from attnretrieval.figures.explanation import explanation_page
from attnretrieval.figures.heads import heads
from attnretrieval.figures.maps import word_region_maps
from attnretrieval.figures.sheet import retrieval_sheet
from attnretrieval.figures.similarity_matrix import similarity_matrix
from attnretrieval.figures.style import save
from attnretrieval.gradcheck.picture import gradient_report

__all__ = ["attention_matrix", "embedding_map", "explanation_page", "gradient_report", "heads", "retrieval_sheet", "save",
           "similarity_matrix", "training_curves", "word_region_maps"]
