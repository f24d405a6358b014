"""Help with an example for every verb; calls that are no calls; --trace and interruptions."""

from __future__ import annotations

import shlex

import pytest

from attnretrieval.cli import VERBS, make_parser


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_an_example(say, verb):
    said = say(f"{verb} --help")
    assert said.code == 0 and said.errors == []
    assert f"usage: attnretrieval {verb}" in said.out and "--trace" in said.out
    before, example, after = said.out.partition("example")
    assert example and f"attnretrieval {verb}" in after


@pytest.mark.parametrize("verb", VERBS)
def test_the_examples_are_calls(say, verb):
    """What the help shows can be typed: every example parses."""
    examples = say(f"{verb} --help").out.partition("example")[2].replace("\\\n", " ").splitlines()
    calls = [line.split("attnretrieval ", 1)[1] for line in examples if "attnretrieval " in line]
    assert calls
    for call in calls:
        assert make_parser([verb]).parse_args(shlex.split(call)).verb == verb


def test_help_of_the_program(say):
    said = say("--help")
    words = " ".join(said.out.split())
    assert said.code == 0 and all(f" {verb} {summary}" in words for verb, summary in VERBS.items())


@pytest.mark.parametrize("line, part", [
    ("", "VERB"),
    ("find", "'find'"),
    ("search", "gallery"),
    ("search {gallery} ball -k many", "'many'"),
    ("search {gallery} ball --mode best", "'best'"),
    ("search {gallery} ball --nothing", "--nothing"),
    ("explain {model} {none} ball --html page.html --language cn", "'cn'"),
    ("train {recipe}", "--features, --train, --val, --out"),
    ("train {recipe} --threads 0", "'0' is not a whole number from 1"),
    ("demo --seed -1", "'-1' is not a whole number"),
    ("gradcheck --seed 1.5", "'1.5' is not a whole number"),
])
def test_calls_that_are_none(say, tmp_path, line, part):
    said = say(line)
    assert said.code == 2 and said.out == "" and list(tmp_path.iterdir()) == []
    assert len(said.errors) == 1 and part in said.errors[0] and "--help" in said.errors[0]


@pytest.mark.parametrize("line", ["--trace search {none} ball", "search {none} ball --trace"])
def test_trace(say, line):
    with pytest.raises(ValueError, match="does not exist"):
        say(line)
    assert say(line.replace("--trace", "")).code == 2


def test_interruption(say, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt
    monkeypatch.setattr("attnretrieval.verbs.gradcheck.run_case", interrupted)
    said = say("gradcheck")
    assert (said.code, said.errors) == (130, ["attnretrieval: interrupted"])
