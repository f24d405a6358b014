"""What docs/build.py adds to the pages that are written by hand, and how all of them become one site a language.

    site            which file becomes which page, and where its links lead
    equations       the page of an equation: its derivation, and what the package says about it
    gradchecks      the gradient checks on such a page, run while it is made
    course          which lessons and exercises belong to an equation: read from the notebooks
    reference       the pages of the API
    docstrings      docstrings of plain text, in the form that Sphinx reads
    doctrees        what is changed after Sphinx has read a page: numbers beside formulas, line breaks in Chinese
    search          the search of the Chinese site
    mathjax         the files of MathJax that a site needs
    words           what the generated pages say, in both languages
"""
