"""`make bench`, all sections."""

from bench.gateway import has_nginx, measure, parse
from bench.loading import Missing, need
from bench.servers import NGINX_HOW, OPENSSL_HOW

from tools.verify.line import CannotRun, Context, Line, from_figures


def run(context: Context) -> list[Line]:
    """Measure; without nginx, half the limits cannot be found out."""
    try:
        need("openssl", OPENSSL_HOW)
        lines = from_figures(measure(parse([])))
    except Missing as missing:
        raise CannotRun(str(missing)) from missing
    if not has_nginx():
        lines.append(
            Line("TLS upstream; p50 beside nginx's", "NOT RUN", note=f"nginx is missing. {NGINX_HOW}")
        )
    return lines
