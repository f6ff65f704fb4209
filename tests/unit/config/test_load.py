"""One file in, one checked configuration out, or every problem named at once."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.config import Config, find_file, load_config
from trimtab.providers import ProviderContext
from trimtab.types import ConfigError, Deadlines, ProviderSpec, Release, TargetSpec

HOME = {"HOME": "/home/somebody"}


def load(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> Config:
    path = tmp_path / "trimtab.toml"
    path.write_text(text, "utf-8")
    return load_config(path, env=HOME | (env or {}))


def problems(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, env)
    assert str(tmp_path / "trimtab.toml") in caught.value.message
    return caught.value.message


def test_nothing_at_all_gives_defaults_and_no_provider() -> None:
    config = load_config(None, env=HOME)
    assert config.source is None
    assert config.providers == ()
    assert config.own.enabled
    assert (config.gateway.host, config.gateway.port, config.console.port) == ("127.0.0.1", 8400, 8401)
    assert config.data_dir == Path("/home/somebody/.local/share/trimtab")
    assert config.policy.open_access


def test_openai_s_variables_alone_make_a_provider_and_keep_the_key_out() -> None:
    env = HOME | {"OPENAI_API_KEY": "sk-secret", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    config = load_config(None, env=env)
    assert config.providers == (
        ProviderSpec(name="openai", base_url="http://127.0.0.1:9/v1", api_key="${OPENAI_API_KEY}"),
    )
    assert "sk-secret" not in repr(config)
    assert config.unset_variables(env) == {}
    assert config.unset_variables({}) == {"openai": ["OPENAI_API_KEY"]}


def test_openai_s_base_url_alone_is_a_server_that_wants_no_key() -> None:
    config = load_config(None, env=HOME | {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"})
    assert config.providers == (ProviderSpec(name="openai", base_url="http://127.0.0.1:9/v1"),)
    assert config.unset_variables({}) == {}
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL: no URL"):
        load_config(None, env=HOME | {"OPENAI_BASE_URL": "127.0.0.1:9/v1"})


def test_declared_providers_take_the_place_of_the_environment_s(tmp_path: Path) -> None:
    config = load(tmp_path, "[providers.x]\nbase_url = 'http://h/v1'\n", {"OPENAI_API_KEY": "sk"})
    assert [p.name for p in config.providers] == ["x"]


@pytest.mark.parametrize(
    ("xdg", "expected"), [("/xdg", "/xdg/trimtab"), ("relative", "/home/somebody/.local/share/trimtab")]
)
def test_the_data_folder_follows_xdg(xdg: str, expected: str) -> None:
    assert load_config(None, env=HOME | {"XDG_DATA_HOME": xdg}).data_dir == Path(expected)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    text = '[data]\ndir = ".trimtab"\n[own]\nmodel_path = "m/x.gguf"\n[catalog]\nfile = "~/c.json"\n'
    config = load(tmp_path, text + '[providers.p]\nca_file = "ca.pem"\n')
    assert config.data_dir == tmp_path / ".trimtab"
    assert config.own.model_path == str(tmp_path / "m/x.gguf")
    assert config.catalog_file == Path("/home/somebody/c.json")
    assert config.providers[0].ca_file == str(tmp_path / "ca.pem")
    other = load_config(tmp_path / "trimtab.toml", env=HOME, data_dir=tmp_path / "other")
    assert other.data_dir == tmp_path / "other"


def test_a_whole_file(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """
        [gateway]
        port = "${PORT:-8500}"
        workers = 4
        [access]
        open = "${OPEN:-false}"
        [data]
        payload = "hash"
        [deadlines]
        connect_s = 1
        [retry]
        attempts = 1
        [providers.a]
        base_url = "http://${HOST}/v1"
        api_key = "${A_KEY}"
        models = ["m"]
        deadlines = { idle_s = 5 }
        [models."a/m"]
        targets = [{ provider = "a", model = "m" }, { provider = "own", model = "x", region = "here" }]
        [routes.support]
        model = "a/m"
        fallbacks = ["own/x"]
        parameters = { temperature = 0.2 }
        """,
        {"PORT": "9000", "HOST": "h"},
    )
    assert config.gateway.port == 9000
    assert config.gateway.workers == 4
    assert config.policy.open_access is False
    assert config.policy.payload == "hash"
    assert config.policy.deadlines == Deadlines(connect_s=1.0)
    assert config.policy.retry.attempts == 1
    (provider,) = config.providers
    assert provider.base_url == "http://h/v1"
    assert provider.api_key == "${A_KEY}"
    assert provider.deadlines == Deadlines(idle_s=5.0)
    assert config.targets == {
        "a/m": (TargetSpec(provider="a", model="m"), TargetSpec(provider="own", model="x", region="here"))
    }
    release = Release(model="a/m", fallbacks=("own/x",), parameters={"temperature": 0.2})
    assert config.releases == {release.id(): release}
    (route,) = config.routes
    assert route.name == "support"
    assert [w.release for w in route.channels["production"]] == [release.id()]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[gateway]\nprot = 1", "gateway.prot: unknown key; did you mean 'port'?"),
        ("[gatway]", "gatway: unknown key; did you mean 'gateway'?"),
        ("[gateway]\nzzz = 1", "known: assumed_output_tokens"),
        ("[gateway]\nport = 'x'", "gateway.port = 'x': expected a whole number, at least 1, at most 65535"),
        ("[gateway]\nport = 70000", "gateway.port = 70000: expected a whole number, at least 1"),
        ("[gateway]\nport = true", "gateway.port = True: expected a whole number"),
        ("[gateway]\nhost = 3", 'or remove it for the default ("127.0.0.1")'),
        ("gateway = 3", "gateway = 3: expected a table; write its settings under [gateway]"),
        ("[access]\nopen = 'yes'", "access.open = 'yes': expected true or false"),
        ("[data]\npayload = 'all'", 'expected "full" or "hash" or "masked" or "none"'),
        ("[deadlines]\nidle_s = nan", "deadlines.idle_s = nan: expected a number, more than 0"),
        ("[deadlines]\nidle_s = inf", "deadlines.idle_s = inf"),
        ("[retry]\nbackoff_s = 9", "retry.backoff_max_s is below retry.backoff_s"),
        ("[own]\nurl = 'http://x/v1'", "own.model: missing"),
        ("[own]\nurl = 'x'\nmodel = 'm'", "own.url: no URL"),
        ("[own]\nurl = 'http://x'\nmodel = 'm'\nmodel_path = 'y'", "exclude each other"),
        ("[providers.own]", "providers.own: the name 'own' is reserved; its settings stand in [own]"),
        ("[providers.route]", "'route' is reserved; choose another name"),
        ("[providers.'a b']", 'providers."a b": a name has letters'),
        ("[providers.p]\nbase_url = 'h/v1'", "providers.p.base_url: no URL"),
        (
            "[providers.p]\nheaders = { a = 1 }",
            "providers.p.headers = (not shown): expected a table of texts",
        ),
        ("[providers.p]\nbase_url = 'socks5://h:1'", "providers.p.base_url: no URL"),
        ("[providers.p]\nheaders = { 'A b' = 'x' }", "providers.p.headers: 'A b' is no header's name"),
        ("[providers.p]\nheaders = { '' = 'x' }", "providers.p.headers: '' is no header's name"),
        ("[providers.p]\nheaders = { a = '${a b}' }", "is no reference"),
        ("[providers.p]\nproxy = '${a b}'", "providers.p.proxy: ${a b} is no reference"),
        ("[providers.p]\nmodels = 'm'", "providers.p.models = 'm': expected a list of texts"),
        ("[providers.p]\ndeadlines = { idle = 1 }", "providers.p.deadlines.idle: unknown key"),
        ("[models.m]\ntargets = [{ provider = 'own', model = 'x' }]", "with a slash"),
        ("[models.'a/m']\ntargets = []", 'models."a/m".targets = []: expected a list of tables'),
        ("[models.'a/m']\ntargets = 3", 'models."a/m".targets = 3: expected a list of tables'),
        ("[models.'a/m']\ntargets = [3]", 'models."a/m".targets.0 = 3: expected a table'),
        ("[models.'a/m']\ntargets = [{ provider = 'own' }]", 'models."a/m".targets.0.model: missing'),
        ("[models.'a/m']\ntargets = [{ provider = 'ow', model = 'm' }]", "did you mean 'own'?"),
        ("[routes.r]", "routes.r.model: missing; it takes a text that is not empty"),
        ("[routes.r]\nmodel = 'x'", "routes.r.model = 'x': expected `provider/model`, with a slash"),
        ("[routes.r]\nmodel = 'nope/x'", "provider 'nope' is not configured"),
        ("[routes.r]\nmodel = 'own/x'\nfallbacks = ['owm/x']", "did you mean 'own'?"),
        ("[routes.r]\nmodel = 'own/x'\nparameters = { a = nan }", "a value that JSON can carry"),
        (
            "[routes.r]\nmodel = 'own/x'\nparameters = { a = 99999999999999999 }",
            "a value that JSON can carry",
        ),
        *(
            (
                f"[routes.r]\nmodel = 'own/x'\nparameters = {{ {key} = 'x' }}",
                f"routes.r.parameters.{key}: this is",
            )
            for key in ("stream", "stream_options", "model", "messages", "input")
        ),
        ("[own]\nenabled = false\n[routes.r]\nmodel = 'own/x'", "provider 'own' is not configured"),
        ("[gateway]\nhost = '${NOPE}'", "gateway.host: environment variable NOPE is not set"),
        ("[providers.p]\napi_key = '${a b}'", "providers.p.api_key: ${a b} is no reference"),
        ("[gateway\n", "not valid TOML"),
        ("x = 1\nx = 2\n", "not valid TOML"),
    ],
)
def test_every_problem_names_its_key_and_the_mend(tmp_path: Path, text: str, said: str) -> None:
    assert said in problems(tmp_path, text)


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    said = problems(tmp_path, "[gateway]\nprot = 1\nport = 'x'\n[console]\nport = 0\n[nonsense]\n")
    assert "4 problems" in said
    assert said.count("\n  - ") == 4


def test_no_message_shows_a_secret(tmp_path: Path) -> None:
    text = """
    [gateway]
    host = { a = "${TOKEN}" }
    [providers.p]
    api_key = ["sk-written"]
    headers = { authorization = 3, x = "sk-header" }
    proxy = "sk-proxy"
    """
    said = problems(tmp_path, text, {"TOKEN": "sk-from-env"})
    assert "sk-" not in said


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "trimtab.toml"
    path.write_bytes(b"[gateway]\nhost = '\xff'\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(path, env=HOME)


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path, env=HOME)


def test_the_nearest_file_upwards_is_found(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "a" / "trimtab.toml").touch()
    (tmp_path / "trimtab.toml").touch()
    named = tmp_path / "named.toml"
    named.touch()
    assert find_file(start=inner) == tmp_path / "a" / "trimtab.toml"
    assert find_file(start=tmp_path) == tmp_path / "trimtab.toml"
    assert find_file(named, start=inner) == named
    with pytest.raises(ConfigError, match="no such file"):
        find_file(tmp_path / "missing.toml")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("${X"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
SECTIONS = st.sampled_from(
    ["gateway", "data", "own", "providers", "models", "routes", "catalog", "retry", "x"]
)
KEYS = st.sampled_from(
    ["port", "host", "dir", "url", "p", "own", "a/m", "targets", "model", "deadlines", "0"]
)


@given(st.dictionaries(SECTIONS, st.dictionaries(KEYS, VALUES, max_size=3) | VALUES, max_size=3))
def test_whatever_a_file_holds_it_is_checked_or_refused_in_words(raw: dict[str, object]) -> None:
    from trimtab.config.check import read_document

    said = "f: "
    try:
        read_document(raw, HOME, "f")
    except ConfigError as error:
        said = error.message
    assert said.startswith("f: ")


def test_headers_and_proxy_stay_unexpanded_and_their_variables_are_named(tmp_path: Path) -> None:
    text = """
    [providers.p]
    api_key = "${KEY}"
    headers = { x-team = "${TEAM}", x-key = "Bearer ${KEY}", x-plain = "${ELSE:-else}" }
    proxy = "http://${USER_PW}@proxy:3128"
    """
    env = {"KEY": "sk-1", "TEAM": "sk-2", "USER_PW": "u:sk-3"}
    config = load(tmp_path, text, env)
    assert "sk-" not in repr(config)
    assert config.unset_variables(env) == {}
    assert load(tmp_path, text).unset_variables({}) == {"p": ["KEY", "TEAM", "USER_PW"]}
    [spec] = config.providers
    sent = ProviderContext(environ=env).expanded(spec)
    assert sent.api_key == "sk-1"
    assert sent.headers == {"x-team": "sk-2", "x-key": "Bearer sk-1", "x-plain": "else"}
    assert sent.proxy == "http://u:sk-3@proxy:3128"
    with pytest.raises(ConfigError, match="TEAM is not set"):
        ProviderContext(environ={"KEY": "k"}).expanded(spec)


@pytest.mark.parametrize(
    "proxy",
    [
        "socks5://u:sk-pw@h:1",
        "https://u:sk-pw@h:1",
        "http://u:sk-pw@",
        "u:sk-pw@h:1",
        "http://u:sk-pw@h:x",
        "${P}",
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_and_not_shown(tmp_path: Path, proxy: str) -> None:
    said = problems(tmp_path, f"[providers.p]\nproxy = '{proxy}'", {"P": "socks5://sk-pw@h"})
    assert "providers.p.proxy: no URL of an HTTP proxy" in said
    assert "sk-pw" not in said


@pytest.mark.parametrize("value", ["sk-\\r\\nx: y", "sk-\\u0000", "sk-\u20ac", "${V}"])
def test_a_header_that_cannot_be_sent_is_refused_and_not_shown(tmp_path: Path, value: str) -> None:
    said = problems(tmp_path, f'[providers.p]\nheaders = {{ x-key = "{value}" }}', {"V": "sk-\n"})
    assert "providers.p.headers: the value of 'x-key' (not shown)" in said
    assert "sk-" not in said


def test_headers_of_latin_1_and_tabs_pass(tmp_path: Path) -> None:
    [spec] = load(tmp_path, '[providers.p]\nheaders = { x = "caf\u00e9\\ta" }').providers
    assert spec.headers == {"x": "caf\u00e9\ta"}
