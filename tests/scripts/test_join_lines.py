from pathlib import Path

from join_lines import join, join_up_to, main

PAIRS = [("a", "A"), ("b", "B"), ("c", "C"), ("d", "D"), ("e", "E")]


def test_join_leaves_out_the_remainder() -> None:
    assert join(PAIRS, 2) == [("a b", "A B"), ("c d", "C D")]
    assert join_up_to(PAIRS, 3) == [*join(PAIRS, 2), ("a b c", "A B C")]
    assert join_up_to(PAIRS, 1) == []


def test_joined_lines_may_begin_with_the_text(tmp_path: Path) -> None:
    for side, suffix in enumerate(("x", "y")):
        text = "".join(f"{pair[side]}\n" for pair in PAIRS)
        (tmp_path / f"text.{suffix}").write_text(text, encoding="utf-8")
    given = [str(tmp_path / "text"), "--source", "x", "--target", "y", "--join", "2"]
    for options, first in (([], "A B"), (["--single"], "A")):
        main([*given, *options, "--output", str(tmp_path / "joined")])
        lines = (tmp_path / "joined.y").read_text(encoding="utf-8").splitlines()
        assert lines[0] == first
        assert lines[-2:] == ["A B", "C D"]
