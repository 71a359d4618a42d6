"""Which texts are secrets, which only look like one, and what stands in a secret's place."""

import base64
import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backscroll.marks import MARK
from backscroll.redaction import Redactor, secrets_in
from backscroll.redaction.rules import FORMS
from secrets_made import PASSWORD, a_jwt, a_private_key, basic, cut_short, made, with_placeholders

SHARED = Path(__file__).parents[2] / "shared"
KEY = b"k" * 32

TOKENS = [
    ("aws-access-key", "AKIA{T16}"),
    ("aws-access-key", "ASIA{T16}"),
    ("aws-access-key", "ABIA{T16}"),
    ("aws-access-key", "ACCA{T16}"),
    ("aws-session-token", "IQoJb3JpZ2luX2VjEPT//////////wEaCXVzLWVhc3QtMSJ{B200}=="),
    ("aws-session-token", "IQoJb3JpZ2luX2VjEGgaCXVzLWVhc3QtMSJ{B200}"),
    ("aws-bedrock-key", "ABSKQmVkcm9ja0FQSUtleS{B90}=="),
    ("aws-bedrock-key", "bedrock-api-key-YmVkcm9jay5{B80}="),
    ("gcp-api-key", "AIza{S35}"),
    ("gcp-oauth-secret", "GOCSPX-{S28}"),
    ("gcp-oauth-token", "ya29.{S60}"),
    ("gcp-oauth-token", "ya29.c.{S60}"),
    ("gcp-refresh-token", "1//0{S60}"),
    ("alibaba-access-key", "LTAI{A20}"),
    ("digitalocean-token", "dop_v1_{H64}"),
    ("digitalocean-token", "doo_v1_{H64}"),
    ("digitalocean-token", "dor_v1_{H64}"),
    ("heroku-token", "HRKU-AA{S58}"),
    ("flyio-token", "fo1_{S43}"),
    ("flyio-token", "fm2_lJPE{A20}{B80}="),
    ("flyio-token", "fm1a_lJPE{A20}{B80}="),
    ("flyio-token", "fm1r_lJPE{A20}{B80}="),
    ("databricks-token", "dapi{H32}"),
    ("netlify-token", "nfp_{A36}"),
    ("supabase-key", "sbp_{H40}"),
    ("supabase-key", "sb_secret_{S31}"),
    ("planetscale-token", "pscale_tkn_{S43}"),
    ("github-token", "ghp_{A36}"),
    ("github-token", "gho_{A36}"),
    ("github-token", "ghu_{A36}"),
    ("github-token", "ghs_{A36}"),
    ("github-token", "ghr_{A76}"),
    ("github-token", "github_pat_{A22}_{A59}"),
    *(("gitlab-token", f"{prefix}-{{S20}}") for prefix in (
        "glpat", "gldt", "glrt", "glrtr", "glcbt", "glft", "glsoat", "glffct", "glwt", "gloas", "glptt", "glimt",
        "glagent",
    )),
    ("npm-token", "npm_{A36}"),
    ("pypi-token", "pypi-AgEIcHlwaS5vcmc{S120}"),
    ("rubygems-token", "rubygems_{H48}"),
    ("crates-token", "cio{A32}"),
    ("nuget-key", "oy2{L43}"),
    ("docker-token", "dckr_pat_{S27}"),
    ("docker-token", "dckr_oat_{S32}"),
    ("artifactory-key", "AKCp{A69}"),
    ("artifactory-token", "cmVmdGtuO{A55}"),
    ("sonar-token", "sqp_{H40}"),
    ("sonar-token", "sqa_{H40}"),
    ("sonar-token", "squ_{H40}"),
    ("sourcegraph-token", "sgp_{H16}_{H40}"),
    ("circleci-token", "CCIPAT_{A22}_{H40}"),
    ("circleci-token", "CCIPRJ_{A22}_{H40}"),
    ("buildkite-token", "bkua_{H40}"),
    ("anthropic-key", "sk-ant-api03-{S93}AA"),
    ("anthropic-key", "sk-ant-oat01-{S93}AA"),
    ("openai-key", "sk-proj-{S74}T3BlbkFJ{S74}"),
    ("openai-key", "sk-svcacct-{S58}T3BlbkFJ{S58}"),
    ("openai-key", "sk-admin-{S58}T3BlbkFJ{S58}"),
    ("openai-key", "sk-None-{A20}T3BlbkFJ{A20}"),
    ("openai-key", "sk-{A20}T3BlbkFJ{A20}"),
    ("openrouter-key", "sk-or-v1-{H64}"),
    ("langfuse-key", "sk-lf-{H8}-{H4}-4{H3}-a{H3}-{H12}"),
    ("api-key", "sk-{H32}"),
    ("groq-key", "gsk_{A52}"),
    ("xai-key", "xai-{A80}"),
    ("perplexity-key", "pplx-{A48}"),
    ("huggingface-token", "hf_{A34}"),
    ("huggingface-token", "api_org_{A34}"),
    ("replicate-token", "r8_{A37}"),
    ("nvidia-key", "nvapi-{S64}"),
    ("langsmith-key", "lsv2_pt_{H32}_{H10}"),
    ("tavily-key", "tvly-dev-{A32}"),
    ("stripe-key", "sk_live_{A24}"),
    ("stripe-key", "sk_test_{A24}"),
    ("stripe-key", "rk_live_{A24}"),
    ("stripe-webhook-secret", "whsec_{A32}"),
    ("elevenlabs-key", "sk_{H48}"),
    ("square-token", "sq0atp-{S22}"),
    ("square-token", "sq0csp-{S43}"),
    ("square-token", "EAAA{S60}"),
    *(("slack-token", f"{prefix}-{{D12}}-{{D13}}-{{A24}}") for prefix in (
        "xoxa", "xoxb", "xoxc", "xoxd", "xoxe", "xoxo", "xoxp", "xoxr", "xoxs",
    )),
    ("slack-token", "xapp-1-A{U10}-{D13}-{H64}"),
    ("sendgrid-key", "SG.{S22}.{S43}"),
    ("mailgun-key", "key-{H32}"),
    ("brevo-key", "xkeysib-{H64}-{A16}"),
    ("resend-key", "re_{A8}_{A24}"),
    ("twilio-key", "SK{H32}"),
    ("telegram-token", "{D10}:AA{S33}"),
    ("discord-token", "MTIz{A20}.G{S5}.{S38}"),
    ("vault-token", "hvs.{S95}"),
    ("vault-token", "hvb.{S140}"),
    ("terraform-token", "{A14}.atlasv1.{S67}"),
    ("doppler-token", "dp.pt.{A43}"),
    ("doppler-token", "dp.st.prd_web.{A43}"),
    ("pulumi-token", "pul-{H40}"),
    ("backscroll-token", "bks_{S64}"),
    ("prefect-key", "pnu_{A36}"),
    ("prefect-key", "pnb_{A36}"),
    ("atlassian-token", "ATATT3xFfGF0{S170}={H8}"),
    ("atlassian-token", "ATCTT3xFfGF0{S170}={H8}"),
    ("atlassian-token", "ATSTT3xFfGF0{S170}={H8}"),
    ("bitbucket-token", "ATBB{A32}"),
    ("linear-key", "lin_api_{A40}"),
    ("linear-key", "lin_oauth_{H64}"),
    ("notion-token", "ntn_{D11}{A35}"),
    ("notion-token", "secret_{A43}"),
    ("airtable-token", "pat{A14}.{H64}"),
    ("figma-token", "figd_{S40}"),
    ("figma-token", "figo_{S40}"),
    ("postman-key", "PMAK-{H24}-{H34}"),
    ("grafana-token", "glsa_{A32}_{H8}"),
    ("grafana-token", "glc_eyJvIjoi{A80}="),
    ("sentry-token", "sntrys_eyJpYXQiO{A80}=_{A43}"),
    ("sentry-token", "sntryu_{H64}"),
    ("newrelic-key", "NRAK-{U27}"),
    ("tailscale-key", "tskey-auth-{A12}CNTRL-{A32}"),
    ("dynatrace-token", "dt0c01.{U24}.{U64}"),
    ("1password-token", "ops_eyJzaWduSW5B{A250}"),
    ("age-key", "AGE-SECRET-KEY-1{U58}"),
    ("easypost-key", "EZAK{A54}"),
    ("easypost-key", "EZTK{A54}"),
    ("shippo-key", "shippo_live_{H40}"),
    *(("shopify-token", f"{prefix}_{{H32}}") for prefix in ("shpat", "shpca", "shppa", "shpss", "shpua")),
    ("octopus-key", "API-{U26}"),
    ("openshift-token", "sha256~{S43}"),
]  # fmt: skip

PLACES = [
    "{}",
    "the token is {}.",
    "TOKEN={}\n",
    '{{"env": {{"TOKEN": "{}"}}}}',
    r'{{"command":"cd x\n{}\nls"}}',
    r'{{"command":"x=\u0022{}\u0022"}}',
    "https://host/path?access_token={}&page=2",
    "https://host/path?next=%3D{}",
    "https://{}@host/repo.git",
    "\x1b[1;32m{}\x1b[0m",
    "+{}\n-{}\n",
    "ключ {} здесь",
    "`{}`",
]


@pytest.mark.parametrize(("kind", "template"), TOKENS, ids=[template[:28] for _, template in TOKENS])
def test_a_token_is_found_wherever_it_stands(kind: str, template: str) -> None:
    # A stray full stop or dash may be drawn as its last sign and be the place's as well.
    token = made(template)
    for place in PLACES:
        found = secrets_in(place.format(token, token))
        assert {(secret.kind, secret.value) for secret in found} == {(kind, token)}, place


@pytest.mark.parametrize("template", [template for _, template in TOKENS], ids=lambda template: template[:28])
def test_what_only_looks_like_a_token_is_left(template: str) -> None:
    token = made(template)
    for near_miss in (with_placeholders(template), cut_short(template), f"z{token}", f"7{token}"):
        assert secrets_in(near_miss) == []


def test_every_form_of_the_table_has_an_example() -> None:
    examples = [(kind, made(template)) for kind, template in TOKENS]
    for form in FORMS:
        its = [token for kind, token in examples if kind == form.kind and re.fullmatch(form.pattern, token)]
        assert its, form
        unseen = [head for head in form.heads if not any(token.startswith(head) for token in its)]
        if form.kind not in ("twilio-key", "discord-token"):  # whose heads are what random figures may begin with
            assert not unseen, form
        assert form.source, form


AWS_SECRET = made("{A9}/{A19}+{A10}")

SURROUNDED = [
    ("aws-secret-key", "AWS_SECRET_ACCESS_KEY={}", AWS_SECRET),
    ("aws-secret-key", "aws_secret_access_key = {}\n", AWS_SECRET),
    ("aws-secret-key", '"SecretAccessKey": "{}",', AWS_SECRET),
    ("aws-secret-key", r'{{\"SecretAccessKey\":\"{}\"}}', AWS_SECRET),
    ("aws-secret-key", "secretAccessKey: '{}'", AWS_SECRET),
    ("aws-secret-key", "<SecretAccessKey>{}</SecretAccessKey>", AWS_SECRET),
    ("aws-secret-key", "AWS Secret Access Key [None]: {}", AWS_SECRET),
    ("aws-secret-key", "AWS Secret Access Key [****************K7MD]: {}", AWS_SECRET),
    ("azure-account-key", "AccountName=x;AccountKey={};EndpointSuffix=core.windows.net", made("{B86}==")),
    ("azure-account-key", "SharedAccessKeyName=root;SharedAccessKey={}", made("{B43}=")),
    ("azure-sas", "https://x.blob.core.windows.net/c?sv=2022-11-02&sig={}&se=2026", made("{A20}%2B{A20}%3D")),
    ("azure-client-secret", "client_secret={}\n", made("{A3}8Q~{A34}")),
    ("password", "postgres://app:{}@db.internal:5432/shop", PASSWORD),
    ("password", "postgresql+asyncpg://app:{}@db/shop", made("{A6}%40{A6}")),
    ("password", r'"mysql:\/\/app:{}@db"', PASSWORD),
    ("password", "redis://:{}@cache:6379/0", PASSWORD),
    ("password", "mongodb+srv://app:{}@c0.mongodb.net/?w=majority", made("{A6}@{A6}!")),
    ("password", "Server=tcp:x,1433;User ID=app;Password={};Encrypt=true", PASSWORD),
    ("password", "Driver={{ODBC}};Server=x;Uid=app;Pwd={};", PASSWORD),
    ("password", "host=db user=app password={} dbname=shop", PASSWORD),
    ("password", "jdbc:postgresql://db/shop?user=app&password={}", PASSWORD),
    ("password", "PGPASSWORD={} psql -h db", PASSWORD),
    ("password", "MYSQL_PWD={} mysql -h db", PASSWORD),
    ("bearer-token", "Authorization: Bearer {}", made("{A40}")),
    ("bearer-token", "curl -H 'authorization: bearer {}'", made("{S40}")),
    ("bearer-token", 'headers["Authorization"] = "Bearer {}"', made("{H40}")),
    ("authorization", "Authorization: token {}", made("{H40}")),
    ("authorization", "'Authorization': '{}'", made("{A32}")),
    ("basic-auth", "Authorization: Basic {}", basic("ada", PASSWORD)),
    ("basic-auth", '{{"auths":{{"registry":{{"auth":"{}"}}}}}}', basic("ada", PASSWORD)),
    ("basic-auth", r'{{\"auth\": \"{}\"}}', basic("ada", PASSWORD)),
    ("api-key", "X-Api-Key: {}", made("{A32}")),
    ("api-key", '"api-key": "{}"', made("{H32}")),
    ("jwt", "Cookie: session={}; theme=dark", a_jwt()),
    ("jwt", "token {}", a_jwt(alg="RS256", kid="k1")),
    ("slack-webhook", "https://hooks.slack.com/services/{}", made("T{U10}/B{U10}/{A24}")),
    ("slack-webhook", r'{{"run":"curl https:\/\/hooks.slack.com\/services\/{}\nls"}}', made(r"T{U10}\/B{U10}\/{A24}")),
    ("discord-webhook", "https://discord.com/api/webhooks/912345678901234567/{}", made("{S68}")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "place", "secret"), SURROUNDED, ids=[f"{kind}: {place[:30]}" for kind, place, _ in SURROUNDED]
)
def test_a_secret_is_known_by_what_stands_around_it(kind: str, place: str, secret: str) -> None:
    text = place.format(secret)
    redacted = Redactor(KEY).text(text)
    before, after = place.format("|").split("|")
    assert MARK.fullmatch(redacted.removeprefix(before).removesuffix(after)), redacted
    assert [found.kind for found in secrets_in(text)] == [kind]


def test_both_halves_of_an_access_key_go_where_they_stand_side_by_side() -> None:
    pair = f"Access key ID,Secret access key\n{made('AKIA{T16}')},{AWS_SECRET}\n"
    assert [found.kind for found in secrets_in(pair)] == ["aws-access-key", "aws-secret-key"]


NEAR_MISSES = [
    "postgres://user:password@localhost/db",
    "postgres://postgres:postgres@db:5432",
    "postgres://${DB_USER}:${DB_PASSWORD}@db",
    "postgres://app:<your password>@db",
    "postgres://{user}:{password}@{host}",
    "postgres://app:xxxx@db and postgres://app:****@db",
    "mongodb://app@h1:27017,h2:27017/db",
    "http://localhost:3000/@scope/package",
    "https://registry:8443,other:8443@x",
    "docker://alpine:3.18@sha256:0123",
    "git@github.com:ada/engine.git and ssh://git@host:22/x",
    "write to ada@example.com: she knows",
    "connect(host=host, user=user, password=read_password())",
    "def connect(user='ada', password=None): ...",
    "password=hunter2 in a sentence",
    "Server=x;User ID=app;Password={password};",
    "Authorization: Bearer ${TOKEN}",
    "Authorization: Bearer <your token goes here, please>",
    "Authorization: Basic realm",
    f"Authorization: Basic {basic('user', 'password')}",
    "Authorization: getAuthorizationHeaderOfRequest2",
    "the bearer authenticationMiddlewareOfRequests2 is called",
    "x-api-key: your-api-key-goes-here-0123",
    "AKIAIOSFODNN7" + "EXAMPLE",
    "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "EXAMPLEKEY",
    f"secret_key = {made('{H40}')}",
    f"{made('{H8}-{H4}-4{H3}-a{H3}-{H12}')} {made('{H40}')} {made('{H64}')}",
    f"{made('toolu_01{A22}')} {made('msg_01{A22}')} {made('call_{A24}')} {made('req_{A24}')}",
    f"sha256:{made('{H64}')} SHA256:{made('{B43}')} sha512-{made('{B86}')}==",
    f"data:image/png;base64,{made('{B4000}')}",
    "sk-folding-cube-animation-delay-and-more",
    "npm_lifecycle_event_name_of_the_script",
    "hf_hub_download_with_retries_and_more",
    "key-value-store-with-a-very-long-name",
    "secret_santa_participants_of_this_year",
    "/usr/lib/python3.11/site-packages/a_rather_long_module_name.py",
    "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\nMIIE<your key>\n-----END PRIVATE KEY-----",
    a_private_key("PUBLIC KEY"),
    a_private_key("CERTIFICATE"),
    "eyJhbGciOiJIUzI1NiJ9 is how one begins, eyJ.eyJ.x is none",
    "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
]  # fmt: skip


@pytest.mark.parametrize("text", NEAR_MISSES, ids=lambda text: text[:40])
def test_placeholders_names_and_digests_are_left(text: str) -> None:
    assert secrets_in(text) == []


KINDS_OF_KEYS = [
    "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY", "OPENSSH PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY", "PGP PRIVATE KEY BLOCK",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS_OF_KEYS)
def test_a_private_key_goes_from_its_first_line_to_its_last(kind: str) -> None:
    redacted = Redactor(KEY).text(f"before\n{a_private_key(kind)}\nafter")
    assert re.fullmatch(r"before\n\[redacted:private-key:[0-9a-f]{8}\]\nafter", redacted)


WAYS_TO_WRITE_A_KEY: dict[str, Callable[[str], str]] = {
    "as it is": lambda key: key,
    "with another system's line ends": lambda key: key.replace("\n", "\r\n"),
    "in JSON": lambda key: json.dumps({"key": key}),
    "in JSON within JSON": lambda key: json.dumps(json.dumps({"key": key})),
    "indented": lambda key: "\n".join(f"    {line}" for line in key.splitlines()),
    "with numbers of lines": lambda key: "\n".join(f"{n:6d}→{line}" for n, line in enumerate(key.splitlines(), 1)),
    "in a diff": lambda key: "\n".join(f"+{line}" for line in key.splitlines()),
    "in a program": lambda key: "\n".join(f'"{line}\\n"' for line in key.splitlines()),
}


@pytest.mark.parametrize("way", WAYS_TO_WRITE_A_KEY)
def test_a_private_key_has_one_fingerprint_however_its_lines_are_written(way: str) -> None:
    key = a_private_key()
    redacted = Redactor(KEY).text(WAYS_TO_WRITE_A_KEY[way](key))
    assert MARK.findall(redacted) == ["private-key"]
    assert MARK.search(redacted)[0] == Redactor(KEY).text(key)  # type: ignore[index]
    assert not re.search(r"[A-Za-z0-9+/]{20}", redacted)


def test_a_private_key_whose_end_was_cut_off_goes_as_far_as_it_does() -> None:
    whole = a_private_key()
    for cut in (whole[:300], f"{whole[:291]}\n[... 40 lines more]", json.dumps(whole[:300])):
        redacted = Redactor(KEY).text(cut)
        assert MARK.findall(redacted) == ["private-key"]
        assert not re.search(r"[A-Za-z0-9+/]{24}", redacted)


def test_a_key_file_in_base64_is_a_private_key_too() -> None:
    encoded = base64.b64encode(a_private_key().encode()).decode()
    assert [found.kind for found in secrets_in(f"client-key-data: {encoded}\n")] == ["private-key"]
    certificate = base64.b64encode(a_private_key("CERTIFICATE").encode()).decode()
    assert secrets_in(f"client-certificate-data: {certificate}\n") == []


def test_a_secret_has_the_same_mark_under_one_key_and_another_under_another() -> None:
    token = made("ghp_{A36}")
    first, again, elsewhere = (
        Redactor(KEY).text(token),
        Redactor(KEY).text(f"x {token}"),
        Redactor(b"o" * 32).text(token),
    )
    assert again == f"x {first}"
    assert elsewhere != first
    assert Redactor(KEY).text(made("ghp_{A36}", seed=2)) != first


def test_redacted_json_stays_json() -> None:
    key = a_private_key()
    parted = json.dumps({"first": key.splitlines()[0], "lines": [*key.splitlines()[1:]], "token": made("ghp_{A36}")})
    redactor = Redactor(KEY)
    value = json.loads(redactor.json(parted))
    assert MARK.fullmatch(value["token"])
    assert redactor.found["github-token"] == 1
    assert Redactor(KEY).value({"SecretAccessKey": AWS_SECRET, "n": 1}).keys() == {"SecretAccessKey", "n"}
    assert AWS_SECRET not in str(Redactor(KEY).value({"SecretAccessKey": AWS_SECRET}))


PIECES = st.one_of(
    st.text(max_size=30),
    st.sampled_from([template for _, template in TOKENS]).map(made),
    st.sampled_from([place.format(secret) for _, place, secret in SURROUNDED]),
    st.sampled_from(NEAR_MISSES),
    st.sampled_from(
        [a_private_key(), a_private_key()[:200], "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"]
    ),
    st.sampled_from(
        ["://", "@", ":", "password=", "Bearer ", "\\n", "%3D", "\x1b[32m", "~", "=", "[redacted:", "sk-", "."]
    ),
)


@given(st.lists(PIECES, max_size=8).map("".join))
def test_redacted_twice_is_redacted_once(text: str) -> None:
    once = Redactor(KEY).text(text)
    again = Redactor(KEY)
    assert again.text(once) == once
    assert not again.found
    assert secrets_in(once) == []


@given(st.lists(PIECES, max_size=8).map("".join))
def test_secrets_are_parts_of_the_text_in_order_and_apart(text: str) -> None:
    end = 0
    for secret in secrets_in(text):
        assert end <= secret.start < secret.end <= len(text)
        end = secret.end


@pytest.mark.parametrize(
    "unit",
    ["@", "a:b@", "://a:b", "://a:@", "-----BEGIN PRIVATE KEY-----\n", "eyJhbGciOiJIUzI1NiJ9.", "sk-" + "a1B2" * 5,
     "Bearer ", "password=", ";password=x;host=", "secret_key", "\\n", "=" * 50, "AKIA" * 5, "x" * 100_000, "{S200}.",
     "{B76}\n", "{A60} ", "glpat-" * 10, "0" * 30 + "//", ":AA" + "a" * 30, "hooks.slack.com/services/"],
    ids=lambda unit: unit[:20],
)  # fmt: skip
def test_time_grows_with_the_text_and_no_faster(unit: str) -> None:
    """Whatever repeats, twice the text takes about twice the time: measured on CPU, the best of some turns."""

    def seconds(chars: int) -> float:
        text = made(unit) * (chars // len(made(unit)) + 1)
        taken = []
        for _ in range(3):
            began = time.process_time()
            secrets_in(text)
            taken.append(time.process_time() - began)
        return min(taken)

    small, large = seconds(100_000), seconds(400_000)
    assert large < 12 * max(small, 0.002)
    assert large < 4


@pytest.mark.skipif(not SHARED.exists(), reason="the shared samples are not beside this checkout")
def test_the_samples_raise_no_false_alarm() -> None:
    texts = [path.read_bytes().decode("utf-8", "replace") for path in SHARED.rglob("*") if path.is_file()]
    assert sum(map(len, texts)) > 1_000_000
    assert [secret.kind for text in texts for secret in secrets_in(text)] == []
