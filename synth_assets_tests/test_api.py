"""`synthesize` and `evaluate`: what they return, and what they refuse before anything is learned."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from synth_assets import evaluate, synthesize
from synth_assets.errors import ForeseenError
from synth_assets.schema.infer import infer_schema
from synth_assets.schema.table import TableSchema
from synth_assets_tests.stub_synthesizer import Stub, StubSettings


def test_synthesize_infers_the_schema_and_returns_its_columns_and_dtypes() -> None:
    frame = pd.DataFrame({"label": pd.Categorical(["a", "b"] * 30), "flag": [True, False] * 30, "x": range(60)})

    rows = synthesize(frame, 120, target="x", synthesizer=Stub(), progress=False)

    assert rows.dtypes.equals(frame.dtypes)
    assert rows.index.tolist() == list(range(120))
    assert rows.equals(synthesize(frame, 120, target="x", synthesizer=Stub(), progress=False))
    assert not rows.equals(synthesize(frame, 120, seed=1, synthesizer=Stub(), progress=False))


def test_a_schema_and_a_synthesizer_by_name_or_settings_may_be_given(
    small_table: pd.DataFrame,
    small_schema: TableSchema,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from synth_assets import synthesizers

    monkeypatch.setitem(synthesizers.SYNTHESIZERS, "stub", Stub)
    frame = small_table.assign(other=1)

    by_name = synthesize(frame, 60, schema=small_schema, synthesizer="stub", progress=False)
    by_settings = synthesize(frame, 60, schema=small_schema, synthesizer=StubSettings(), progress=False)

    assert list(by_name) == small_schema.names
    assert [record.getMessage() for record in caplog.records] == [
        "Left out: 'other'. The schema does not state them."
    ] * 2
    pd.testing.assert_frame_equal(by_name, by_settings)


@pytest.mark.usefixtures("fast_evaluation")
def test_a_column_may_be_named_self() -> None:
    rng = np.random.default_rng(0)
    real = pd.DataFrame({"self": rng.integers(0, 2, 80), "x": rng.normal(size=80), "label": ["a", "b"] * 40})

    synthetic = synthesize(real[:60], 60, synthesizer=Stub(), progress=False)

    assert list(synthetic) == ["self", "x", "label"]
    assert evaluate(synthetic, real[:60], real[60:], target="self", progress=False).gates


def test_progress_is_plain_lines_where_stderr_is_no_terminal(
    small_table: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    synthesize(small_table, 60, synthesizer=Stub())
    assert capsys.readouterr().err == "fitted to 60 rows\n"
    synthesize(small_table, 60, synthesizer=Stub(), progress=False)
    assert capsys.readouterr() == ("", "")


def test_what_is_left_out_is_said(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame({"x": [1, 2] * 30, "note": [f"note {n * n} of {60 - n}" for n in range(60)]})
    frame["wave"] = 1j

    synthesize(frame, 5, synthesizer=Stub(), progress=False)

    assert [record.getMessage() for record in caplog.records] == [
        "Left out: 'wave' holds complex numbers. Convert them to numbers, dates or text to have them.",
        "Left out of the synthetic rows: 'note'. The text of a table that is private is not written.",
    ]
    caplog.clear()
    synthesize(frame[["x", "wave"]].set_index("wave"), 5, synthesizer=Stub(), progress=False)
    assert caplog.messages == ["Left out: the index, 'wave'. Call reset_index() to have it learned."]
    caplog.clear()
    synthesize(frame[["x", "note"]], 5, synthesizer=Stub())
    assert "text is left out: note" in capsys.readouterr().err
    assert not caplog.records  # it is said once


def test_a_public_table_is_evaluated_without_the_text_that_a_synthesizer_does_not_write() -> None:
    frame = pd.DataFrame({"x": [1, 2, 3] * 20, "note": [f"note {n * n} of {60 - n}" for n in range(60)]})

    synthetic = synthesize(frame, 30, synthesizer="smote", private=False, progress=False)
    evaluation = evaluate(synthetic, frame.head(30), frame.tail(30), private=False)

    assert list(synthetic) == ["x"]
    assert not evaluation.metrics["metric"].str.contains("text").any()


_FRAME = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})


@pytest.mark.parametrize(
    ("frame", "arguments", "message"),
    [
        (_FRAME.head(0), {}, r"^the frame has no row; at least 2"),
        (_FRAME.head(1), {}, r"^the frame has 1 row; at least 2"),
        (_FRAME[["a", "b", "a"]], {}, r"^the frame has the column 'a' twice"),
        (_FRAME, {"target": "c"}, r"^target: 'c' is not a column of the table; the columns are 'a', 'b'\.$"),
        (_FRAME, {"rows": 0}, r"^rows is 0; expected the number of synthetic rows"),
        (_FRAME, {"rows": 2.5}, r"^rows is 2\.5; expected"),
        (_FRAME, {"synthesizer": "gan"}, r"^synthesizer is 'gan'; expected one of language_model, "),
        (
            _FRAME.assign(a=[1.0, np.inf, 2.0]),
            {},
            r"^the frame: column 'a' has inf in data row 2, which is not",
        ),
        (_FRAME[["b"]], {}, r"^the frame has nothing to learn: b \(text\)\. Add a column"),
        ({"a": [1, 2]}, {}, r"^the frame: found dict; expected a pandas\.DataFrame\.$"),
    ],
)
def test_synthesize_refuses_bad_input_in_one_sentence(frame: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ForeseenError, match=message) as caught:
        synthesize(frame, **({"rows": 5, "synthesizer": Stub(), "progress": False} | arguments))
    assert "\n" not in str(caught.value)


def test_columns_without_text_as_names_keep_them() -> None:
    frame = pd.DataFrame({7: [1, 2] * 30, "label": ["a", "b"] * 30})

    assert list(synthesize(frame, 5, target="label", synthesizer=Stub(), progress=False)) == [7, "label"]
    levels = frame.set_axis(pd.MultiIndex.from_tuples([("a", 7), ("b", "label")]), axis="columns")
    assert list(synthesize(levels, 5, synthesizer=Stub(), progress=False)) == [("a", 7), ("b", "label")]
    assert list(synthesize(frame, 5, target=7, synthesizer=Stub(), progress=False)) == [7, "label"]  # type: ignore[arg-type]


def _real(seed: int, n: int = 80) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    return pd.DataFrame({"x": x, "y": x + rng.normal(size=n), "label": np.where(x > 0, "high", "low")})


@pytest.mark.usefixtures("fast_evaluation")
def test_evaluate_returns_metrics_gates_and_a_verdict() -> None:
    evaluation = evaluate(_real(0)[["label", "x", "y"]], _real(1), _real(2))

    assert {"metric", "column_name", "value", "reference_low", "reference_high"} <= set(evaluation.metrics)
    assert evaluation.metrics["column_name"].isin(["x", "label"]).any()
    assert evaluation.gates
    assert isinstance(evaluation.passed, bool)


@pytest.mark.usefixtures("fast_evaluation")
def test_evaluate_takes_columns_as_synthesize_took_them() -> None:
    """With 256 train rows, 60 strings are text, which is left out; of all 320 rows, they are labels.

    Consecutive numbers are keys; without the holdout rows, they are numbers, which synthetic rows repeat.
    """
    places = ["ABCDEFGH"[n % 60 // 8] + "abcdefgh"[n % 60 % 8] for n in range(320)]
    real = pd.DataFrame({"place": places, "n": range(320), "x": np.random.default_rng(0).normal(size=320)})
    drawn = np.random.default_rng(0).permutation(320)
    train, holdout = real.iloc[np.sort(drawn[:256])], real.iloc[np.sort(drawn[256:])]
    assert {"place": "categorical", "n": "id"}.items() <= {c.name: c.type for c in infer_schema(real).columns}.items()

    synthetic = synthesize(train, 256, synthesizer=Stub(), progress=False)

    assert list(synthetic) == ["n", "x"]
    assert "key_copies" not in set(evaluate(synthetic, train, holdout, progress=False).metrics["metric"])


@pytest.mark.parametrize(
    ("changed", "frame", "message"),
    [
        ("synthetic", _real(0).drop(columns="x"), "^the columns of the synthetic frame differ .*: they lack 'x'. Pass"),
        ("holdout", _real(0).assign(z=1), "^the columns of the holdout frame differ .*: they have 'z'"),
        ("synthetic", _real(0).rename(columns={"x": "z"}), "they lack 'x' and have 'z'"),
        ("train", _real(0)[["x", "y", "x"]], "^the train frame has the column 'x' twice"),
        ("synthetic", _real(0).head(0), "^the synthetic frame has no row"),
        ("holdout", _real(0).head(1), "^found 1 holdout row; an evaluation needs at least"),
        ("synthetic", _real(0).assign(x="tall"), "^the synthetic frame: column 'x' has 'tall' in data row 1, which is"),
        ("synthetic", None, "^the synthetic frame: found NoneType; expected a pandas.DataFrame"),
    ],
)  # fmt: skip
def test_evaluate_refuses_bad_input_in_one_sentence(changed: str, frame: Any, message: str) -> None:
    frames = {"synthetic": _real(0), "train": _real(1), "holdout": _real(2)} | {changed: frame}
    with pytest.raises(ForeseenError, match=message) as caught:
        evaluate(**frames)
    assert "\n" not in str(caught.value)


def test_a_target_that_is_no_column_is_refused() -> None:
    with pytest.raises(ForeseenError, match=r"^target: 'z' is not a column of the table"):
        evaluate(_real(0), _real(1), _real(2), target="z")
