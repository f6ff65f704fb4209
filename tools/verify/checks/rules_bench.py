"""The figures of a call once more, with a key, limits, a budget and two routes in force."""

from bench.figures import Figure
from bench.gateway import has_nginx, measure, parse
from bench.loading import Missing, need
from bench.servers import NGINX_HOW, OPENSSL_HOW

from tools.verify.line import CannotRun, Context, Line, at_most, from_figures

PLAIN = "worker CPU per request, plain"


def run(context: Context) -> list[Line]:
    """Measure without and with rules; each figure may be 15 % over the limit that it has without."""
    try:
        need("openssl", OPENSSL_HOW)
        plain = _of(measure(parse(["--only", "plain"])))
        figures = measure(parse(["--rules"]))
    except Missing as missing:
        raise CannotRun(str(missing)) from missing
    if not has_nginx():
        raise CannotRun(f"nginx is missing. {NGINX_HOW}")
    ruled = _of(figures)
    note = f"{ruled:.0f} beside {plain:.0f} µs"
    return [
        at_most("a request with rules beside one without", ruled / plain, 1.15, "×", note),
        *from_figures(figures),
    ]


def _of(figures: list[Figure]) -> float:
    return next(figure.value for figure in figures if (figure.measure, figure.subject) == (PLAIN, "Trimtab"))
