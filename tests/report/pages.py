"""What every page must be: elements that nest, one file that loads nothing, links that lead."""

from html.parser import HTMLParser

EVIL = "<script>alert(1)</script>\"'&$\\frac{$--\x00"
VOID = {"meta", "img", "br", "link", "hr"}
LOADING = {"script", "link", "iframe", "object", "embed", "form"}


class Page(HTMLParser):
    """Elements of a page, and whether they nest."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def check_alone(text):
    """Check that a page is one file that loads nothing and does nothing, and can be heard."""
    page = Page(text)
    assert not {name for name, _ in page.elements} & LOADING
    for _, attrs in page.elements:
        assert attrs.get("src", "data:image/").startswith("data:image/")
        assert attrs.get("href", "#").startswith("#")
        assert not [name for name in attrs if name.startswith("on")]
    assert "url(" not in text
    assert "@import" not in text
    assert all(len(attrs["alt"]) > 20 for attrs in page.all("img"))
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["href"][1:] for attrs in page.all("a")} <= set(ids)
