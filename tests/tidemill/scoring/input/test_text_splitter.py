import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from tidemill.scoring.input import text_splitter
from tidemill.scoring.input.text_splitter import cut

CELL = st.text(st.sampled_from('ab,"\n'), max_size=4)
ANY = st.text(st.sampled_from('ab,"\n'), max_size=60)  # quotes amid values and ones that nobody ends, too


def written(rows: list[tuple[str, str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


WRITTEN = st.lists(st.tuples(CELL, CELL), max_size=30).map(written)


@given(ANY | WRITTEN | WRITTEN.map(str.rstrip), st.integers(1, 60), st.integers(1, 40))
def test_pieces_hold_whole_rows_and_all_of_them(text, block, chunk):
    content = text.encode()
    before, text_splitter._CHUNK = text_splitter._CHUNK, chunk
    try:
        pieces = cut(io.BytesIO(content), quoted=True, block=block)
    finally:
        text_splitter._CHUNK = before
    assert b"".join(content[piece.start : piece.end] for piece in pieces) == content
    read = [list(csv.reader(io.StringIO(content[p.start : p.end].decode(), newline=""))) for p in pieces]
    assert [row for piece in read for row in piece] == list(
        csv.reader(io.StringIO(content.decode(), newline=""))
    )
    assert [piece.lines for piece in pieces] == [len(piece) for piece in read]
    assert all(piece.end - piece.start >= block for piece in pieces[:-1])
