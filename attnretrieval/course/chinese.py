"""Typesetting of Chinese Markdown that was typed with ASCII punctuation and broken into lines.

    marks    , : ; ? ! and ( ) beside Chinese become their full-width forms, and lose the space after them
    lines    a line break between two Chinese characters goes away: on a page it would be a space
    stress   *emphasis* becomes **bold**: Chinese has no italics, and a browser would only slant the characters

Formulas, code, an index such as X[i, :n], links, labels such as (a) and the punctuation of a Latin phrase stay as they are.
The sources of the course are written in short lines with the punctuation of every keyboard; `typeset` makes of them what a
reader of Chinese expects.
"""

from __future__ import annotations

import re

FULL_WIDTH = {mark: chr(ord(mark) + 0xFEE0) for mark in ",:;?!()"}      # Unicode keeps both forms at this distance
KEPT = re.compile(r"```.*?```|\$\$.*?\$\$|\$[^$]+\$|`[^`\n]+`|[A-Za-z_]\[[^\]\n]*\]|\]\([^()\s]*\)|https?://[^\s()]+",
                  re.DOTALL)
INLINE, INDEX, BLOCK = 0xE000, 0xE800, 0xF000           # private characters that stand for what is kept
HAN = r"\u3000-\u303f\u4e00-\u9fff\uff00-\uffef\u201c\u201d"
WIDE = rf"[{HAN}{chr(INLINE)}-{chr(INDEX - 1)}]"
MARK = re.compile(rf"""(?:(?<={WIDE})|(?<={WIDE}\*)|(?<={WIDE}\*\*))[,:;?!]     # after Chinese, or after bold Chinese
                    | [,:;?!](?=\**{WIDE}|$)                                 # before it, or at the end of a line
                    | (?<!\d)[,:;?!](?=[\w*]) | [,:;?!](?=[^\W\d])           # a Latin phrase has a space after it
                    """, re.VERBOSE | re.MULTILINE)
PARENTHESES = re.compile(r"\(((?:[^()]|\([^()]*\))*)\)")
CHARACTER, CHARACTERS = re.compile(r"[\u4e00-\u9fff]"), re.compile(WIDE)
EMPHASIS = re.compile(r"(?<!\*)\*(?![*\s])([^*\n]+)\*(?!\*)")
SPACE_AFTER = re.compile(rf"(?<=[{''.join(FULL_WIDTH.values())}]) +(?=\S)")
STARTS_BLOCK = re.compile(r"[-+*>] |\d+\. |[#|]")       # a list, a quotation, a heading, a table
ENDS_IN_MARK = re.compile(r"[\u3000-\u303f\uff00-\uffef]$")


def typeset(markdown: str) -> str:
    """The same Markdown with full-width punctuation, whole paragraphs and no italics."""
    kept: list[str] = []

    def keep(match: re.Match) -> str:
        kept.append(match[0])
        block, index = match[0].startswith(("$$", "```")), re.match(r"[A-Za-z_]\[", match[0])
        return chr((BLOCK if block else INDEX if index else INLINE) + len(kept) - 1)

    text = KEPT.sub(keep, markdown)
    text = PARENTHESES.sub(_parentheses, text)
    text = MARK.sub(lambda match: FULL_WIDTH[match[0]], text)
    text = _joined(SPACE_AFTER.sub("", text))
    text = EMPHASIS.sub(lambda match: f"**{match[1]}**" if CHARACTERS.search(match[1]) else match[0], text)
    return re.sub(rf"[{chr(INLINE)}-\uf8ff]", lambda match: kept[ord(match[0]) & 0x7FF], text)


def _parentheses(match: re.Match) -> str:
    """A pair is one kind: full-width where it holds Chinese or follows it, and not for labels such as (a) and (1)."""
    before = match.string[:match.start()].rstrip("*")[-1:]
    if CHARACTERS.search(match[1]) or CHARACTER.match(before):
        return FULL_WIDTH["("] + PARENTHESES.sub(_parentheses, match[1]) + FULL_WIDTH[")"]
    return match[0]


def _joined(text: str) -> str:
    lines = text.split("\n")
    whole = lines[:1]
    for line in lines[1:]:
        before, after = whole[-1], line.lstrip()
        if before and after and not before.lstrip().startswith(("#", "|")) and not STARTS_BLOCK.match(after) \
                and _touch(before, after):
            whole[-1] = before + after
        else:
            whole.append(line)
    return "\n".join(whole)


def _touch(before: str, after: str) -> bool:
    if ENDS_IN_MARK.search(before):
        return ord(after[0]) < BLOCK or ord(after[0]) > 0xF8FF          # not a formula on a line of its own
    bold = re.search(r"[\u4e00-\u9fff]\**$", before) and re.match(r"\**[\u4e00-\u9fff]", after)
    return bool(bold or re.search(rf"[{HAN}]$", before) and re.match(rf"[{HAN}]", after))
