import json
import stat

import pytest

from trimtab.config import load_config

SECRET = "sk-this-must-never-be-shown"
FILE = f"""
[gateway]
port = 9000
[providers.openai]
api_key = "${{OPENAI_API_KEY}}"
models = ["m"]
[providers.plain]
api_key = "{SECRET}"
base_url = "https://user:{SECRET}@host/v1"
proxy = "http://user:{SECRET}@proxy:3128"
headers = {{ "x-key" = "{SECRET}" }}
options = {{ token = "{SECRET}" }}
[providers.mixed]
api_key = "{SECRET}${{OPENAI_API_KEY}}"
[providers.fallback]
api_key = "${{OPENAI_API_KEY:-{SECRET}}}"
[own]
model = "x"
url = "http://user:{SECRET}@127.0.0.1/v1"
[routes.assistant]
model = "openai/m"
fallbacks = ["plain/x"]
"""


def test_show_hides_every_secret(run, place):
    (place / "trimtab.toml").write_text(FILE)
    for arguments in (("config", "show"), ("config", "show", "--json"), ("config", "check")):
        ran = run(*arguments)
        assert ran.code == (1 if "check" in arguments else 0)  # a variable is not set
        assert SECRET not in ran.out + ran.err
    tree = json.loads(run("config", "show", "--json").out)
    assert tree["gateway"]["port"] == 9000
    assert tree["providers"]["openai"]["api_key"] == "${OPENAI_API_KEY} (NOT SET)"
    assert tree["providers"]["plain"]["base_url"] == "https://(hidden)@host/v1"
    assert tree["routes"]["assistant"]["production"][0]["fallbacks"] == ["plain/x"]


def test_show_says_whether_a_variable_is_set(run, place, monkeypatch):
    (place / "trimtab.toml").write_text(FILE)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    ran = run("config", "show")
    assert "${OPENAI_API_KEY} (set)" in ran.out
    assert SECRET not in ran.out


def test_check_wants_every_variable_as_a_start_would(run, place, monkeypatch):
    (place / "trimtab.toml").write_text('[providers.openai]\napi_key = "${OPENAI_API_KEY}"')
    ran = run("config", "check")
    assert ran.code == 1
    assert "OPENAI_API_KEY is not set" in ran.err
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    ran = run("config", "check")
    assert (ran.code, ran.err) == (0, "")
    assert "good" in ran.out
    report = json.loads(run("config", "check", "--json").out)
    assert report == {"ok": True, "file": str(place / "trimtab.toml"), "error": None}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[gateway]\nport = 0", "gateway.port"),
        ("nonsense", "TOML"),
        ("[providers.x]\nbase_url = 'ftp://x'", "providers.x.base_url"),
        ("[routes.r]\nmodel = 'nobody/x'", "routes.r.model"),
        ("[catalog]\nfile = 'absent.json'", "catalog.file"),
        ("[data]\npayload = 'masked'", "masked"),
        ("[providers.x]\nkind = 'no-such-protocol'", "no-such-protocol"),
    ],
)
def test_check_names_the_key_and_exits_1(run, place, text, told):
    (place / "trimtab.toml").write_text(text)
    ran = run("config", "check")
    assert (ran.code, ran.out) == (1, "")
    assert told in ran.err
    report = json.loads(run("config", "check", "--json").out)
    assert report["ok"] is False
    assert told in report["error"]


def test_check_reads_the_catalog_file(run, place):
    (place / "trimtab.toml").write_text('[catalog]\nfile = "prices.json"')
    (place / "prices.json").write_text('{"models": {"openai/m": {"prices": [{"from": "x"}]}}}')
    ran = run("config", "check")
    assert ran.code == 1
    assert "prices" in ran.err


def test_a_file_may_be_named(run, place):
    (place / "other.toml").write_text("[gateway]\nport = 9001")
    assert (
        json.loads(run("config", "show", "--json", "--config", "other.toml").out)["gateway"]["port"] == 9001
    )
    assert run("config", "check", "--config", "absent.toml").code == 1


def test_control_characters_of_a_file_are_shown(run, place):
    (place / "trimtab.toml").write_text('[own]\nmodel = "a\\u001b]0;x\\u0007"')
    assert "\x1b" not in run("config", "show").out


def test_init_writes_a_configuration_that_is_good(run, place):
    ran = run("init")
    assert ran.code == 0
    assert "trimtab up" in ran.err
    assert stat.S_IMODE((place / ".trimtab").stat().st_mode) == 0o700
    assert run("config", "check").code == 0
    assert json.loads(run("config", "show", "--json").out)["data_dir"] == str(place / ".trimtab")
    assert (place / ".trimtab" / ".gitignore").read_text() == "*\n"


def test_every_line_that_init_comments_out_is_good_too(run, place):
    run("init")
    text = (place / "trimtab.toml").read_text()
    lines = [
        line.removeprefix("# ")
        if line.startswith("# ") and ("= " in line or line.startswith("# ["))
        else line
        for line in text.splitlines()
        if not line.startswith(("# url", '# model = "llama'))  # excludes model_path
    ]
    assert sum(a != b for a, b in zip(lines, text.splitlines(), strict=False)) > 10
    (place / "all.toml").write_text("\n".join(lines))
    config = load_config(place / "all.toml", env={"OPENAI_API_KEY": "x", "GROQ_API_KEY": "y"})
    assert {spec.name for spec in config.providers} == {"openai", "groq"}
    assert config.gateway == load_config(None, env={}).gateway  # what is commented out is the default


def test_init_overwrites_nothing(run, place):
    (place / "trimtab.toml").write_text("mine")
    ran = run("init")
    assert (ran.code, ran.out) == (1, "")
    assert "exists already" in ran.err
    assert (place / "trimtab.toml").read_text() == "mine"
    assert not (place / ".trimtab").exists()


def test_init_in_another_folder(run, place):
    assert run("init", "absent").code == 3
    (place / "there").mkdir()
    assert run("init", "there").code == 0
    assert (place / "there" / "trimtab.toml").is_file()
