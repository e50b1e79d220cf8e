"""Is the text of an HTML page exactly what a reader sees, in whatever encoding it states?"""

from __future__ import annotations

from pathlib import Path

import pytest
from document_files import fields, reason, text

PAGE = """<!DOCTYPE html>
<html><head><title> Cakes
 &amp; bread </title><style>p { color: red }</style></head>
<body><header>Our shop</header><nav><a href="/">Home</a></nav>
<main><h1>Bread</h1>
<p>Take   <b>flo</b>ur,&nbsp;water<br>and salt.
<p>Bake it.</p><p> </p>
<ul><li>brown<li><p>white</p></ul>
<table><tr><th>kind</th><th>price</th></tr><tr><td><p>rye</p></td> <td>3</td></tr></table>
<pre>
  oven:
    240  °C
</pre>
<div>One</div><div>two <span>three</span> <i>four</i></div>
<p hidden>secret</p><script>alert("x")</script><noscript>Switch it on</noscript><template>no</template>
<!-- nobody --> the end</main><footer>© us</footer></body></html>"""

PAGE_TEXT = (
    "Bread\n\nTake flour,\u00a0water\nand salt.\n\nBake it.\n\nbrown\n\nwhite\n\nkind\tprice\nrye\t3\n\n"
    "  oven:\n    240  °C\n\nOne\ntwo three four\nthe end"
)


def test_an_html_page_is_its_title_and_the_text_of_its_main_part(tmp_path: Path) -> None:
    assert fields(tmp_path, "a.html", PAGE) == {"title": "Cakes & bread", "text": PAGE_TEXT}


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("just text", "just text"),
        ("<p>one<p>two", "one\n\ntwo"),
        ("<body><nav>menu</nav>one <em>two</em>, three</body>", "one two, three"),
        ("<main>one</main><main>two</main>", "one\ntwo"),
        ("a<br><br>b", "a\n\nb"),
        (" <br> a <br> <br> <p>b", "a\n\nb"),
        ("<br><p>b", "b"),
        ("<pre>\n\n\n</pre><p>b</p><pre>\n a</pre>", "b\n\n a"),
        ("<div>a </div> <div> b</div>", "a\nb"),
        ("<h1>a</h1><div><div>b</div></div>", "a\n\nb"),
        ("<td>a<td>b", "ab"),
        ("<table><tr><td>a</td><td><p>b</p><p>c</p></td><td>d</td></tr></table>", "a\n\nb\n\nc\n\nd"),
        ("<pre>a\n\n b</pre>c", "a\n\n b\n\nc"),
        ("&lt;b&gt; &#x1F35E;", "<b> 🍞"),
        ("<p>a<script>x</script>b", "ab"),
        ("", ""),
    ],
)
def test_html_is_laid_out_as_a_browser_copies_it(tmp_path: Path, html: str, expected: str) -> None:
    assert fields(tmp_path, "a.htm", html) == {"text": expected}


def test_deep_and_long_pages_are_read(tmp_path: Path) -> None:
    assert text(tmp_path, "a.html", "<div>" * 5000 + "deep") == "deep"
    many = "".join(f"<p>paragraph {i}</p>" for i in range(20_000))
    assert text(tmp_path, "b.html", many) == "\n\n".join(f"paragraph {i}" for i in range(20_000))


@pytest.mark.parametrize(
    "data",
    [
        "<p>naïve café".encode(),
        "\ufeff<p>naïve café".encode(),
        "<p>naïve café".encode("utf-16"),
        '<meta charset="ISO-8859-1"><p>naïve café'.encode("latin-1"),
        b'<meta http-equiv="Content-Type" content="text/html; charset=windows-1252"><p>na\xefve caf\xe9',
        '<meta charset=koi8-r><meta charset="utf-8"><p>naïve café'.encode().replace(b"koi8-r", b"utf-8"),
    ],
)
def test_a_page_is_decoded_as_it_states(tmp_path: Path, data: bytes) -> None:
    assert text(tmp_path, "a.html", data) == "naïve café"


def test_a_page_in_another_encoding_than_it_states_is_rejected(tmp_path: Path) -> None:
    assert reason(tmp_path, "a.html", "<p>café".encode("latin-1")) == (
        "the page is not UTF-8, as it states or by default: byte 0xe9 at offset 6"
    )
    assert "is not SHIFT_JIS" in reason(tmp_path, "b.html", b"<meta charset=shift_jis>\xff")
    assert reason(tmp_path, "c.html", b"<meta charset=nosuch>") == (
        "the page states an encoding 'nosuch' that is not known"
    )
