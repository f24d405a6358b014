"""The search of the Chinese site: Sphinx's, mended in two places."""

from __future__ import annotations

from sphinx.search.zh import SearchChinese


class Chinese(SearchChinese):
    # Sphinx 9 takes the name of the stemmer from here, and there is none for Chinese: github.com/sphinx-doc/sphinx/issues/14229
    language_name = "English"
    # The index has words of two characters and more; cut what is searched for into such words too, where the browser can.
    js_splitter_code = """
if (Intl.Segmenter) splitQuery = query => {
  const words = [...new Intl.Segmenter("zh", {granularity: "word"}).segment(query)];
  return words.filter(word => word.isWordLike && word.segment.length > 1).map(word => word.segment);
};
"""
