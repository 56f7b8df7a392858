"""Numbers are split into subword tokens of two digits from the right."""

from synth_assets.synthesizers.language_model.tokenizer import subword_tokens


def test_numbers_are_split_from_the_right() -> None:
    texts = [f"{n // 1000:02d}.{n % 1000:03d}" for n in range(12_000)]
    cut = subword_tokens(texts, 256)
    assert ["".join(tokens) for tokens in cut] == texts
    assert all(sum(c.isdigit() for c in token) == 2 for tokens in cut for token in tokens[1:])
    assert len({tokens[0] for tokens in cut}) < 256
    assert subword_tokens(["1", "2"], 256) == [["1"], ["2"]]
